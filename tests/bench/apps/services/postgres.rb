# frozen_string_literal: true

require "socket"

# The simple queries of PostgreSQL's protocol (version 3.0, "Message Flow"), in Ruby alone: Corundum and native Ruby run the
# same client.
class Postgres
  def initialize(port)
    @socket = TCPSocket.new("127.0.0.1", port)
    parameters = "user\0app\0database\0postgres\0\0"
    @socket.write([8 + parameters.bytesize, 196_608].pack("NN"), parameters)
    receive
  end

  def query(text)
    @socket.write("Q#{[5 + text.bytesize].pack('N')}#{text}\0")
    receive
  end

  private

  def receive
    rows = []
    failure = nil
    loop do
      type, length = @socket.read(5).unpack("aN")
      body = @socket.read(length - 4).to_s
      case type
      when "D" then rows << columns(body)
      when "E" then failure = body
      when "Z" then failure ? raise(failure[/M([^\0]+)/, 1]) : (return rows)
      end
    end
  end

  def columns(body)
    count, rest = body.unpack("na*")
    Array.new(count) do
      length, rest = rest.unpack("Na*")
      value, rest = rest.unpack("a#{length}a*")
      value
    end
  end
end
