# frozen_string_literal: true

require "sidekiq"

Sidekiq.configure_server { |config| config.logger.level = Logger::WARN }

# A job that does next to nothing: the benchmark measures Sidekiq and its connections.
class CountJob
  include Sidekiq::Job

  def perform(number)
    Sidekiq.redis { |redis| redis.call("INCRBY", "sum", number) }
  end
end
