# A chat whose listeners and speakers are connections to a hub (hub.rb).
require "socket"

module Hub
  def self.connect
    host, port = ENV.fetch("HUB", "127.0.0.1:7000").split(":")
    Socket.tcp(host, port, connect_timeout: 5)
  end
end

# Lines of the hub as server-sent events, for as long as somebody listens.
class Listener
  def initialize = @socket = Hub.connect

  def each
    yield ": connected\n\n"
    while (line = @socket.gets)
      yield "data: #{line.chomp}\n\n"
    end
  end

  def close = @socket.close
end

PAGE = File.read("index.html")

map "/events" do
  run ->(env) { [200, { "content-type" => "text/event-stream", "cache-control" => "no-store" }, Listener.new] }
end

map "/say" do
  run lambda { |env|
    text = env["rack.input"].read(500).to_s.force_encoding("UTF-8").scrub.delete("\r\n")
    socket = Hub.connect
    socket.puts(text)
    socket.close
    [204, {}, []]
  }
end

run ->(env) { [200, { "content-type" => "text/html; charset=utf-8" }, [PAGE]] }
