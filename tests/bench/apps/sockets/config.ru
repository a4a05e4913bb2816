# frozen_string_literal: true

require "digest"

# Echoes the frames of its client (RFC 6455), each of which has at most 125 bytes.
class Echo
  GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

  def initialize(env)
    accept = Digest::SHA1.base64digest(env["HTTP_SEC_WEBSOCKET_KEY"] + GUID)
    @io = env["rack.hijack"].call
    @io.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
              "Sec-WebSocket-Accept: #{accept}\r\n\r\n")
  end

  def run
    while (head = @io.read(6))
      length = head.getbyte(1) & 127
      mask = head.byteslice(2, 4).bytes
      payload = @io.read(length).bytes.each_with_index.map { |byte, at| byte ^ mask[at & 3] }.pack("C*")
      @io.write([head.getbyte(0), length].pack("CC"), payload)
    end
  ensure
    @io.close
  end
end

run lambda { |env|
  next [200, {}, ["ready"]] unless env["HTTP_UPGRADE"]

  echo = Echo.new(env)
  Thread.new { echo.run }
  [-1, {}, []]
}
