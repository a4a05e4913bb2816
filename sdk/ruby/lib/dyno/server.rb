# frozen_string_literal: true

module Dyno
  # Serves requests: SCGI in, Rack in between, CGI out.
  module Server
    CHUNK = 1 << 16
    EMPTY = EmptyInput.new
    # What every request's env has.
    ENVIRONMENT = {
      "rack.version" => [1, 6].freeze,
      "rack.errors" => LOG,
      "rack.multithread" => false,
      "rack.multiprocess" => true,
      "rack.run_once" => false
    }.freeze

    class << self
      attr_writer :app

      # Serves one request; 0 when it was answered.
      def serve
        env = read_env
        input = env["rack.input"]
        method = env["REQUEST_METHOD"]
        body = nil
        begin
          status, headers, body = @app.call(env)
          Response.write(status, headers, body, method, input)
        ensure
          body.close if body.respond_to?(:close)
        end
        after_reply(env["rack.after_reply"]) if env.key?("rack.after_reply")
        finished(env, status, headers) if env.key?("rack.response_finished")
        0
      rescue Errno::EPIPE
        0 # the client has gone; the dyno is as good as before
      rescue SystemExit => exit
        LOG.write("the app called exit(#{exit.status})\n")
        1
      rescue NoMemoryError => error
        Dyno.report(error)
        1
      rescue Exception => error # rubocop:disable Lint/RescueException -- an app's error must not end its dyno
        failed(error)
      end

      private

      # The Rack env of the request that waits on descriptor 0.
      def read_env
        head = INPUT.sysread(CHUNK)
        colon = head.index(":")
        length = head.to_i
        finish = colon + 1 + length
        head << INPUT.sysread(CHUNK) while head.bytesize <= finish
        fields = head.byteslice(colon + 1, length).split("\0", -1)
        env = ENVIRONMENT.dup
        index = 0
        last = fields.length - 1
        while index < last
          env[fields[index]] = fields[index + 1]
          index += 2
        end
        # What Rack 2 calls it; also, a header named Version must not pass for it.
        env["HTTP_VERSION"] = env["SERVER_PROTOCOL"]
        env["rack.input"] = input(env, head, finish + 1)
        env
      end

      def input(env, head, start)
        case env["CONTENT_LENGTH"]
        when "0"
          env.delete("CONTENT_LENGTH")
          return EMPTY
        when "-1"
          env.delete("CONTENT_LENGTH")
        end
        Input.new(head.bytesize > start ? head.byteslice(start..) : "".b)
      end

      def after_reply(callables)
        callables.each(&:call)
      end

      def finished(env, status, headers)
        env["rack.response_finished"].reverse_each { |callable| callable.call(env, status, headers, nil) }
      end

      # An exception that the app let through.
      def failed(error)
        Dyno.report(error)
        OUTPUT.syswrite("Status: 500\r\ncontent-type: text/plain\r\n\r\nInternal Server Error\n")
        0
      rescue Errno::EPIPE
        0
      end
    end
  end
end
