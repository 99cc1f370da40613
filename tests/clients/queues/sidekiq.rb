# Sidekiq with a worker process: with its keys in one slot, by a namespace, and without.

require 'tempfile'

HOST, PORT = ARGV.fetch(0).split(':')
RUN = "sidekiq-#{Process.pid}".freeze
HERE = __dir__
SECONDS = 40
ENV['QUEUE_URL'] = "redis://#{HOST}:#{PORT}/0"
ENV['QUEUE_PREFIX'] = "{#{RUN}}"

require_relative 'sidekiq_jobs'
require 'sidekiq/api'

# Runs named checks, prints one line for each and a summary at the end.
class Checks
  attr_reader :failed

  def initialize
    @passed = @failed = 0
  end

  def run(name)
    started = now
    yield
    @passed += 1
    puts format('ok      sidekiq: %<name>s (%<spent>.2f s)', name: name, spent: now - started)
  rescue StandardError => e
    @failed += 1
    puts "FAILED  sidekiq: #{name}: #{e.class}: #{e.message[0, 400]} (#{e.backtrace.first})"
  end

  def finish
    puts "#{@passed} passed, #{@failed} failed"
    exit(@failed.zero? && @passed.positive? ? 0 : 1)
  end
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def equal(got, expected)
  raise "got #{got.inspect}, expected #{expected.inspect}" unless got == expected
end

def wait_until(what)
  limit = now + SECONDS
  until yield
    raise "#{what}: not within #{SECONDS} s" if now > limit

    sleep 0.05
  end
end

# A worker process; yields the file with what it prints.
def worker(prefix)
  Tempfile.create('slotway-sidekiq') do |log|
    command = %W[sidekiq -r #{HERE}/sidekiq_jobs.rb -c 5 -q urgent -q default]
    pid = spawn({ 'QUEUE_PREFIX' => prefix }, *command, out: log.path, err: log.path, chdir: '/tmp')
    begin
      yield log.path
    ensure
      Process.kill('TERM', pid)
      Process.wait(pid)
    end
  end
end

def done(list)
  Sidekiq.redis { |redis| redis.lrange(list, 0, -1) }
end

def many
  texts = Array.new(60) { |number| number.to_s }
  texts.each { |text| Note.perform_async('many', text) }
  wait_until('60 jobs') { done('many').size == 60 }
  equal(done('many').sort, texts.sort)
end

def bulk
  arguments = Array.new(30) { |number| ['bulk', number.to_s] }
  equal(Note.perform_bulk(arguments).size, 30)
  wait_until('30 jobs') { done('bulk').size == 30 }
end

def queues
  10.times do |number|
    Note.set(queue: number.even? ? 'urgent' : 'default').perform_async('both', 'x')
  end
  wait_until('10 jobs') { done('both').size == 10 }
end

def scheduled
  started = now
  Note.perform_in(2, 'later', 'x')
  equal(Sidekiq::ScheduledSet.new.size, 1)
  wait_until('the scheduled job') { done('later').size == 1 }
  raise 'too early' if now - started < 1.5
end

def retried
  SecondTime.perform_async('again', 'calls')
  wait_until('the second call') { done('again') == ['2'] }
  equal(Sidekiq::RetrySet.new.size, 0)
end

# The worker reports itself in transactions.
def heartbeat
  wait_until('the process') { Sidekiq::ProcessSet.new.size == 1 }
  wait_until('the count of jobs') { Sidekiq::Stats.new.processed >= 103 }
  equal(Sidekiq::Stats.new.failed, 1)
end

def one_slot(checks)
  worker("{#{RUN}}") do |log|
    before = checks.failed
    %i[many bulk queues scheduled retried heartbeat].each { |name| checks.run(name) { send(name) } }
    puts File.read(log)[-4000..] || File.read(log) if checks.failed > before
  end
end

# Jobs need no transaction, but the worker's report of itself is one over several keys.
def any_slot(redis, proxy)
  worker(RUN) do |log|
    Sidekiq::Client.new(ConnectionPool.new(size: 1) { Redis::Namespace.new(RUN, redis: redis) })
                   .push('class' => Note, 'args' => %w[any x])
    wait_until('the job') { redis.llen("#{RUN}:any") == 1 }
    wait_until('a report') do
      proxy ? File.read(log).include?('CROSSSLOT') : redis.scard("#{RUN}:processes") == 1
    end
  end
end

def remove(redis)
  redis.scan_each(match: "*#{RUN}*", count: 1000) { |key| redis.unlink(key) }
end

$stdout.sync = true
redis = Redis.new(url: ENV.fetch('QUEUE_URL'))
checks = Checks.new
one_slot(checks)
proxy = redis.info('server').key?('slotway_version')
checks.run('without a hash tag') { any_slot(redis, proxy) }
checks.run('keys removed') { remove(redis) }
checks.finish
