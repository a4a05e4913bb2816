# Passes each line of a connection on to all connections. Runs outside of the node: ruby hub.rb PORT
require "socket"

server = TCPServer.new("127.0.0.1", Integer(ARGV.fetch(0)))
clients = []
loop do
  readable, = IO.select([server, *clients])
  readable.each do |socket|
    if socket == server
      clients << server.accept
    elsif (line = socket.gets)
      clients.each { |client| client.write(line) }
    else
      clients.delete(socket).close
    end
  rescue SystemCallError
    clients.delete(socket)
  end
end
