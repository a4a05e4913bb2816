require "bundler/setup"
require "json"
require "sidekiq"

# Counts the primes up to a number, and keeps the answer in Redis.
class PrimesJob
  include Sidekiq::Job

  RESULTS = "results"
  KEPT = 20

  def perform(limit)
    result = JSON.generate(limit:, primes: count(limit), dyno: ENV.fetch("DYNO"))
    Sidekiq.redis do |redis|
      redis.call("LPUSH", RESULTS, result)
      redis.call("LTRIM", RESULTS, 0, KEPT - 1)
    end
  end

  # The sieve of Eratosthenes.
  def count(limit)
    sieve = Array.new(limit + 1, true)
    (2..Integer.sqrt(limit)).each do |number|
      (number * number).step(limit, number) { |multiple| sieve[multiple] = false } if sieve[number]
    end
    sieve.drop(2).count(true)
  end

  # The latest results, newest first.
  def self.results
    Sidekiq.redis { |redis| redis.call("LRANGE", RESULTS, 0, -1) }.map { |text| JSON.parse(text) }
  end
end
