require "monitor"
require "websocket/driver"
require_relative "room"

# A client's WebSocket: says in the room what the client sends, and sends the client what is said in the room.
class Client
  LONGEST = 500 # characters of a message
  PING = 30 # seconds; the router ends a connection that is silent for 55 seconds

  attr_reader :env, :url

  def initialize(env)
    @env = env
    @url = "#{env['rack.url_scheme'].sub('http', 'ws')}://#{env['HTTP_HOST']}#{env['PATH_INFO']}"
    @room = Room.new
    # Two threads write frames.
    @frames = Monitor.new
    @socket = env["rack.hijack"].call
    @driver = WebSocket::Driver.rack(self, max_length: 16_384)
    @driver.on(:message) { |event| hear(event.data) }
    @driver.on(:close) { @socket.close }
    @driver.start
  end

  # The driver calls this with bytes to send.
  def write(bytes) = @socket.write(bytes)

  # Serves the client until it leaves.
  def run
    Thread.new { forward }
    loop do
      bytes = @socket.readpartial(16_384)
      @frames.synchronize { @driver.parse(bytes) }
    end
  rescue IOError, SystemCallError
    # The client has left.
  ensure
    @socket.close
  end

  private

  def hear(data)
    text = data.to_s.strip[0, LONGEST]
    @room.say(text) unless text.empty?
  end

  def forward
    @room.listen(pause: PING) do |text|
      @frames.synchronize { text ? @driver.text(text) : @driver.ping }
    end
  rescue RedisClient::Error
    @frames.synchronize { @driver.close("the room is closed", 1011) }
  rescue IOError, SystemCallError
    # The client has left.
  end
end
