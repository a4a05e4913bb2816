# frozen_string_literal: true

# Defines as much of the socket library as other libraries need for loading, in packs whose Ruby has no sockets: those that
# are made from npm's packages. Attempts to open a connection raise an error that names the Ruby that has them.

# Same as in the standard library.
class SocketError < StandardError; end

# Same as in the standard library.
class BasicSocket < IO
  class << self
    def new(*target, **)
      raise Errno::EACCES, "#{target.join(":")}: Ruby #{RUBY_VERSION} has no sockets here; Ruby 3.3 and 3.4 built from source have them"
    end

    alias open new
    alias for_fd new
  end
end

# Same as in the standard library.
class IPSocket < BasicSocket
  def self.getaddress(host) = raise(SocketError, "#{host}: Ruby #{RUBY_VERSION} resolves no names here; Ruby 3.3 and 3.4 built from source do")
end

# Same as in the standard library.
class TCPSocket < IPSocket; end

# Same as in the standard library.
class TCPServer < TCPSocket; end

# Same as in the standard library.
class UDPSocket < IPSocket; end

# Same as in the standard library.
class UNIXSocket < BasicSocket; end

# Same as in the standard library.
class UNIXServer < UNIXSocket; end

# Same as in the standard library.
class Socket < BasicSocket
  # Values of Linux. Libraries only need the names.
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
    # Returns the dyno's name.
    def gethostname = ENV.fetch("DYNO", "dyno")

    def tcp(host, port, *, **) = new(host, port)
    def unix(path) = new(path)
    def getaddrinfo(host, *) = IPSocket.getaddress(host)
  end
end
$LOADED_FEATURES << "socket.rb"
