# frozen_string_literal: true

# As much of the socket library as others need to be loaded: a dyno opens no connections, and says so when it should.

# As the standard library's.
class SocketError < StandardError; end

# As the standard library's.
class BasicSocket < IO
  class << self
    def new(*target, **)
      raise Errno::EACCES, "#{target.join(":")}: a dyno opens no connections (#{name})"
    end

    alias open new
    alias for_fd new
  end
end

# As the standard library's.
class IPSocket < BasicSocket
  def self.getaddress(host) = raise(SocketError, "#{host}: a dyno resolves no names")
end

# As the standard library's.
class TCPSocket < IPSocket; end

# As the standard library's.
class TCPServer < TCPSocket; end

# As the standard library's.
class UDPSocket < IPSocket; end

# As the standard library's.
class UNIXSocket < BasicSocket; end

# As the standard library's.
class UNIXServer < UNIXSocket; end

# As the standard library's.
class Socket < BasicSocket
  # The numbers are Linux's; libraries use them as names.
  module Constants
    AF_UNSPEC = PF_UNSPEC = 0
    AF_UNIX = PF_UNIX = 1
    AF_INET = PF_INET = 2
    AF_INET6 = PF_INET6 = 10
    SOCK_STREAM = 1
    SOCK_DGRAM = 2
    IPPROTO_TCP = 6
    TCP_NODELAY = 1
    SOL_SOCKET = 1
    SO_KEEPALIVE = 9
  end
  include Constants
  Constants.constants.each { |name| const_set(name, Constants.const_get(name)) }

  class << self
    # The dyno's name, as a container's host has its own.
    def gethostname = ENV.fetch("DYNO", "dyno")

    def tcp(host, port, *, **) = new(host, port)
    def unix(path) = new(path)
    def getaddrinfo(host, *) = IPSocket.getaddress(host)
  end
end
$LOADED_FEATURES << "socket.rb"
