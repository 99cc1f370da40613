# The jobs of the Sidekiq checks, and how the worker process and the checks reach the server.

require 'sidekiq'
require 'redis-namespace'

Redis.silence_deprecations = true
SETTINGS = { url: ENV.fetch('QUEUE_URL'), namespace: ENV.fetch('QUEUE_PREFIX') }.freeze

Sidekiq.configure_client { |config| config.redis = SETTINGS }

Sidekiq.configure_server do |config|
  config.redis = SETTINGS
  Sidekiq.options[:average_scheduled_poll_interval] = 1
end

# Leaves a trace of each job that was done.
class Note
  include Sidekiq::Worker

  def perform(list, text)
    Sidekiq.redis { |redis| redis.rpush(list, text) }
  end
end

# Fails the first time.
class SecondTime
  include Sidekiq::Worker
  sidekiq_options retry: 3
  sidekiq_retry_in { 1 }

  def perform(list, counter)
    calls = Sidekiq.redis { |redis| redis.incr(counter) }
    raise 'not yet' if calls < 2

    Sidekiq.redis { |redis| redis.rpush(list, calls.to_s) }
  end
end
