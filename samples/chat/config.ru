# A chat over WebSockets. Each connection is a dyno; Redis connects them.
require "bundler/setup"
require_relative "client"

PAGE = File.read("index.html")

map "/room" do
  run lambda { |env|
    next [426, { "upgrade" => "websocket" }, ["Connect with a WebSocket.\n"]] unless WebSocket::Driver.websocket?(env)

    client = Client.new(env)
    Thread.new { client.run }
    [-1, {}, []]
  }
end

run ->(_) { [200, { "content-type" => "text/html; charset=utf-8" }, [PAGE]] }
