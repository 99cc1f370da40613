//! One address in front of a whole Redis Cluster.
