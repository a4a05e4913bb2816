# frozen_string_literal: true

require "openssl"
require "socket"

# The requests of the app to other servers. Native Ruby runs the same file to compare.
module Client
  HOST = "127.0.0.1"
  HANDSHAKES = 20
  BUFFER = 1 << 18

  # Asks a server that answers after a second.
  def self.wait(port)
    TCPSocket.open(HOST, port) do |socket|
      socket.write("wait")
      socket.read
    end
  end

  # Returns the megabytes that arrive each second.
  def self.stream(port)
    TCPSocket.open(HOST, port) do |socket|
      socket.write("send")
      rate(socket)
    end
  end

  # Returns the milliseconds of a handshake, the first of which is not counted.
  def self.handshake(port)
    connect(port, nil).close
    started = now
    HANDSHAKES.times { connect(port, nil).close }
    (now - started) / HANDSHAKES * 1e3
  end

  def self.aes(port) = download(port, "ECDHE-RSA-AES256-GCM-SHA384")
  def self.chacha(port) = download(port, "ECDHE-RSA-CHACHA20-POLY1305")

  def self.download(port, cipher)
    socket = connect(port, cipher)
    socket.write("GET /large HTTP/1.0\r\n\r\n")
    rate(socket)
  ensure
    socket&.close
  end

  def self.connect(port, cipher)
    context = OpenSSL::SSL::SSLContext.new
    context.verify_mode = OpenSSL::SSL::VERIFY_NONE
    # The sessions of this version have names of their ciphers that each library knows.
    context.max_version = OpenSSL::SSL::TLS1_2_VERSION
    context.ciphers = cipher if cipher
    socket = OpenSSL::SSL::SSLSocket.new(TCPSocket.new(HOST, port), context)
    socket.sync_close = true
    socket.connect
  end

  def self.rate(socket)
    bytes = 0
    part = String.new(capacity: BUFFER)
    started = now
    begin
      loop { bytes += socket.readpartial(BUFFER, part).bytesize }
    rescue EOFError
      bytes / (now - started) / 1e6
    end
  end

  def self.now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

puts Client.public_send(ARGV[0], Integer(ARGV[1])) if $PROGRAM_NAME == __FILE__
