require "redis_client"

# The room where all clients meet. Each client has a dyno of its own, and dynos share no memory: Redis passes messages on.
class Room
  CHANNEL = "room"
  HISTORY = "history"
  KEPT = 20

  def self.redis = RedisClient.new(url: ENV.fetch("REDIS_URL"))

  def initialize
    @redis = Room.redis
  end

  def say(text)
    @redis.multi do |transaction|
      transaction.call("LPUSH", HISTORY, text)
      transaction.call("LTRIM", HISTORY, 0, KEPT - 1)
      transaction.call("PUBLISH", CHANNEL, text)
    end
  end

  # Yields the latest messages, oldest first, then each that anybody says, and nil after each `pause` seconds without one.
  def listen(pause:)
    subscription = Room.redis.pubsub
    subscription.call("SUBSCRIBE", CHANNEL)
    loop do
      kind, _, text = subscription.next_event(pause)
      # From the subscription on, no message is missed.
      next history.each { |message| yield message } if kind == "subscribe"

      yield text
    end
  end

  private

  def history = Room.redis.call("LRANGE", HISTORY, 0, -1).reverse
end
