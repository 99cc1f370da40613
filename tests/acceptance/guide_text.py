"""What the guide has its readers type into a shell, word for word.

`nano` of a file stands for its text, which follows in the guide. Names in angle brackets are what
a reader looks up.
"""

FOLDERS = """\
sudo useradd -r -s /bin/false redis 2>/dev/null || true
for i in {7000..7005}; do
sudo mkdir -p /var/lib/redis-cluster/$i
sudo chown -R redis:redis /var/lib/redis-cluster/$i
sudo chmod 755 /var/lib/redis-cluster/$i
done
sudo mkdir -p /etc/redis-cluster
"""
CONFIGS = """\
for i in {7001..7005}; do
sudo sed "s/7000/$i/g" /etc/redis-cluster/redis-7000.conf > \\
/etc/redis-cluster/redis-$i.conf
done
sudo chown redis:redis /etc/redis-cluster/redis-*.conf
sudo chmod 600 /etc/redis-cluster/redis-*.conf
"""
UNIT = """\
[Unit]
Description=Redis Cluster Node %i
After=network.target
[Service]
Type=simple
User=redis
Group=redis
ExecStart=/usr/local/bin/redis-server /etc/redis-cluster/redis-%i.conf
ExecStop=/bin/kill -TERM $MAINPID
Restart=always
RestartSec=10
StandardOutput=journal
StandardError=journal
[Install]
WantedBy=multi-user.target
"""
START = """\
for i in {7000..7005}; do
sudo systemctl daemon-reload
sudo systemctl enable redis-cluster@$i
done
for i in {7000..7005}; do
sudo systemctl start redis-cluster@$i
done
"""
PING = """\
redis-cli -p 7000 ping
redis-cli -p 7005 ping
"""
CREATE = """\
redis-cli --cluster create \\
192.168.1.10:7000 192.168.1.10:7001 192.168.1.10:7002 \\
192.168.1.10:7003 192.168.1.10:7004 192.168.1.10:7005 \\
--cluster-replicas 1 \\
--cluster-yes
"""
INFO = "redis-cli -c -p 7000 CLUSTER INFO\n"
NODES = "redis-cli -c -p 7000 CLUSTER NODES\n"
SLOTS = """\
redis-cli -c -p 7000 CLUSTER SLOTS
redis-cli -c -p 7000 CLUSTER KEYSLOT mykey
redis-cli -c -p 7000 CLUSTER NODES | grep -E 'slot|myself'
redis-cli --cluster info 192.168.1.10:7000
"""
WHO_HAS_WHAT = """\
#!/bin/bash
# Show slot distribution across nodes
redis-cli -c -p 7000 CLUSTER NODES | \\
while read line; do
if [[ ! $line =~ ^# ]]; then
id=$(echo $line | cut -d' ' -f1)
host=$(echo $line | cut -d' ' -f2)
slots=$(echo $line | cut -d' ' -f9-)
echo "$id ($host): $slots"
fi
done
"""
ROLES = "redis-cli -c -p 7000 CLUSTER NODES | grep -E 'master|slave'\n"
REPLICATE = """\
redis-cli -p 7003 CLUSTER REPLICATE <master-node-id>
redis-cli -p 7003 INFO replication
"""
PROMOTE = "redis-cli -p 7003 CLUSTER FAILOVER\n"
STOP = """\
sudo systemctl stop redis-cluster@7000
redis-cli -c -p 7001 CLUSTER INFO
sleep 20
redis-cli -c -p 7001 CLUSTER NODES | grep -E "7000|7003"
"""
RESTART = """\
sudo systemctl start redis-cluster@7000
redis-cli -c -p 7000 CLUSTER NODES
"""
# Typed into redis-cli.
THRESHOLDS = """\
CONFIG SET cluster-node-timeout 15000
CONFIG SET save "900 1"
CONFIG REWRITE
"""
NEW_NODES = """\
for i in {7006..7007}; do
sudo mkdir -p /var/lib/redis-cluster/$i
sudo chown -R redis:redis /var/lib/redis-cluster/$i
sudo sed "s/7000/$i/g" /etc/redis-cluster/redis-7000.conf > \\
/etc/redis-cluster/redis-$i.conf
sudo systemctl enable redis-cluster@$i
sudo systemctl start redis-cluster@$i
done
"""
ADD_PRIMARY = "redis-cli --cluster add-node 192.168.1.10:7006 192.168.1.10:7000\n"
ADD_REPLICA = "redis-cli --cluster add-node 192.168.1.10:7007 192.168.1.10:7001 --cluster-slave\n"
JOINED = "redis-cli -c -p 7000 CLUSTER NODES | grep 7006\n"
RESHARD = """\
redis-cli --cluster reshard 192.168.1.10:7000 \\
--cluster-from <source-node-id> \\
--cluster-to <dest-node-id> \\
--cluster-slots 1364 \\
--cluster-yes
"""
CHECK = "redis-cli --cluster check 192.168.1.10:7000\n"
RESHARD_AWAY = """\
redis-cli --cluster reshard 192.168.1.10:7000 \\
--cluster-from <node-id-to-remove> \\
--cluster-to <target-node> \\
--cluster-slots 5461 \\
--cluster-yes
"""
FORGET = """\
redis-cli -p 7000 CLUSTER FORGET <node-id>
redis-cli -p 7006 CLUSTER RESET
sudo systemctl stop redis-cluster@7006
"""
# Typed into redis-cli.
LOOK = """\
-- Check cluster info
CLUSTER INFO
-- View all nodes
CLUSTER NODES
-- Get slot information
CLUSTER SLOTS
-- Check specific node
CLUSTER NODES | grep <node-id>
-- Get replicas of a node
CLUSTER REPLICAS <node-id>
-- View connection statistics
INFO clients
-- Check memory usage
INFO memory
-- Exit
EXIT
"""
MONITOR = r"""#!/bin/bash
# /usr/local/bin/monitor-redis-cluster.sh
CLUSTER_PORT=7000
CLUSTER_HOST="192.168.1.10"
echo "=== Redis Cluster Health Check ==="
echo "Timestamp: $(date)"
# Check cluster state
echo ""
echo "Cluster Status:"
redis-cli -h $CLUSTER_HOST -p $CLUSTER_PORT CLUSTER INFO | \
grep -E "cluster_state|cluster_slots_assigned|cluster_known_nodes"
# Check node health
echo ""
echo "Node Status:"
redis-cli -h $CLUSTER_HOST -p $CLUSTER_PORT CLUSTER NODES | \
grep -E 'myself|master|slave' | awk '{print $1,$2,$7}' | head -10
# Check slot distribution
echo ""
echo "Slot Distribution:"
redis-cli -h $CLUSTER_HOST -p $CLUSTER_PORT CLUSTER SLOTS | \
grep -oE '^\d+' | sort -u | wc -l
echo "Total slots covered"
# Check for failed nodes
echo ""
echo "Failed Nodes:"
redis-cli -h $CLUSTER_HOST -p $CLUSTER_PORT CLUSTER NODES | \
grep -i fail || echo "None"
"""
ROLLING = """\
for node in 7000 7001 7002 7003 7004 7005; do
echo "Restarting node $node..."
sudo systemctl restart redis-cluster@$node
sleep 10
# Wait for node to rejoin
until redis-cli -p $node ping > /dev/null 2>&1; do
sleep 1
done
echo "Node $node rejoined"
done
"""
BACKUP = """\
for i in {7000..7005}; do
redis-cli -p $i BGSAVE
done
"""
FLUSH = """\
redis-cli -c -p 7000 FLUSHDB
redis-cli -c -p 7000 FLUSHALL
"""
MEET = "redis-cli -h 192.168.1.10 -p 7000 CLUSTER MEET 192.168.1.10 7001\n"
FIX = "redis-cli --cluster fix 192.168.1.10:7000\n"
RESET = "redis-cli -p 7000 CLUSTER RESET\n"
ABOUT_ONE = """\
redis-cli -p 7000 CLUSTER NODES | grep <node-id>
redis-cli -p 7000 CLUSTER MYID
"""
DEBUG = "redis-cli -h 192.168.1.10 -p 7000 DEBUG OBJECT mykey\n"
