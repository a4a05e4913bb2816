# frozen_string_literal: true

module Dyno
  # The client's connection in the hands of the app: a full hijack, as WebSockets begin.
  module Hijack
    # CONNECTION_DESCRIPTOR of sdk/abi.
    DESCRIPTOR = 1001
    # The response by which a guest takes the connection over; the app writes its own to the connection.
    TAKEN = "Status: 101\r\n\r\n"

    class << self
      # Offers the connection of a request to the app.
      def offer(env)
        @connection = nil
        env["rack.hijack?"] = true
        env["rack.hijack"] = -> { env["rack.hijack_io"] = take }
      end

      def taken? = !@connection.nil?

      # Lets the app's threads use the connection until it is closed. The request lasts as long.
      def wait
        @ended.pop
      rescue Exception => error # rubocop:disable Lint/RescueException -- also MRI's error of a deadlock, when no thread is left
        Dyno.report(error) unless error.instance_of?(fatal_class)
      ensure
        @connection.close unless @connection.closed?
      end

      # Ends a request whose connection the app has taken over; `error` is the exception that the app raised after that.
      def finish(error)
        Dyno.report(error) if error
        @connection.close unless @connection.closed?
        0
      end

      private

      def take
        @connection ||= begin
          require "socket"
          OUTPUT.syswrite(TAKEN)
          @ended = ended = Thread::Queue.new
          connection = UNIXSocket.for_fd(DESCRIPTOR)
          connection.define_singleton_method(:close) do
            super()
          ensure
            ended << true
          end
          connection
        end
      end

      def fatal_class = ObjectSpace.each_object(Class).find { |one| one.name == "fatal" }
    end
  end
end
