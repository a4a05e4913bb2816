# frozen_string_literal: true

module Dyno
  # Serves requests: SCGI in, Rack in between, CGI out.
  module Server
    CHUNK = 1 << 16
    EMPTY = EmptyInput.new
    # What every request's env has in Rack 3. Of a connection, an app can take over the response alone.
    RACK_3 = { "rack.errors" => LOG, "rack.hijack?" => true }.freeze
    # The same in Rack 2, where `rack.hijack?` would promise the whole connection.
    RACK_2 = {
      "rack.version" => [1, 3].freeze,
      "rack.errors" => LOG,
      "rack.multithread" => false,
      "rack.multiprocess" => true,
      "rack.run_once" => false
    }.freeze

    class << self
      # Takes the app and, for all its requests, the version of Rack that it has loaded.
      def app=(app)
        @app = app
        rack_2 = defined?(::Rack::RELEASE) && ::Rack::RELEASE.to_i < 3
        @environment = rack_2 ? RACK_2 : RACK_3
        # The path of `OPTIONS *`, which Rack 2 does not know.
        @asterisk = rack_2 ? "" : "*"
        # Where the app leaves what is to be done after the response.
        @afterwards = rack_2 ? "rack.after_reply" : "rack.response_finished"
        Input.spills = rack_2
      end

      # Serves one request; 0 when it was answered.
      def serve
        env = read_env
        input = env["rack.input"]
        method = env["REQUEST_METHOD"]
        status = headers = body = error = nil
        Response.begun = false
        begin
          status, headers, body = @app.call(env)
          Response.write(status, headers, body, method, input)
        rescue Exception => error # rubocop:disable Lint/RescueException -- an app's error must not end its dyno
        end
        guarded { body.close } if body.respond_to?(:close)
        result = error ? failed(error) : 0
        finished(env, status, headers, error)
        input.discard
        result
      end

      # Serves sample requests that the host offers while a release is made, at most so many; whether the dyno is as
      # good as before.
      def warm_up(most = 100)
        most.times { return false unless serve.zero? }
        true
      rescue EOFError
        true
      end

      private

      # The Rack env of the next request.
      def read_env
        env = @environment.dup
        first = read_head(env)
        # CGI decodes the path; Rack's apps do so themselves.
        uri = env["REQUEST_URI"]
        env["PATH_INFO"] = uri[/\A[^?]*/] if uri&.include?("%")
        env["PATH_INFO"] = @asterisk if uri == "*"
        # What Rack 2 calls it; also, a header named Version must not pass for it.
        env["HTTP_VERSION"] = env["SERVER_PROTOCOL"]
        env["rack.input"] = input(env, first)
        env[@afterwards] = []
        env
      end

      # Adds the fields of the next request's head to `env`; returns what of its body has come with them.
      if defined?(Native)
        def read_head(env) = Native.read_head(env)
      else
        def read_head(env)
          head = INPUT.sysread(CHUNK)
          colon = head.index(":")
          length = head.to_i
          finish = colon + 1 + length
          head << INPUT.sysread(CHUNK) while head.bytesize <= finish
          fields = head.byteslice(colon + 1, length).split("\0", -1)
          index = 0
          last = fields.length - 1
          while index < last
            env[fields[index]] = fields[index + 1]
            index += 2
          end
          head.bytesize > finish + 1 ? head.byteslice((finish + 1)..) : "".b
        end
      end

      def input(env, first)
        length = env["CONTENT_LENGTH"]
        if length == "0"
          env.delete("CONTENT_LENGTH")
          return EMPTY
        end
        return Input.new(length.to_i, first) unless length == "-1"

        # A body of unknown length; frameworks look for this header before they read it.
        env.delete("CONTENT_LENGTH")
        env["HTTP_TRANSFER_ENCODING"] = "chunked"
        Input.new(nil, first)
      end

      # Calls what the app has left to be done after the response.
      def finished(env, status, headers, error)
        finished = env["rack.response_finished"]
        after = env["rack.after_reply"]
        return unless (finished && !finished.empty?) || (after && !after.empty?)

        # Waiting, if only for nothing, lets the host send the response first.
        IO.select(nil, [OUTPUT], nil, 0)
        finished&.reverse_each { |callable| guarded { callable.call(env, status, headers, error) } }
        after&.each { |callable| guarded { callable.call } }
      end

      # For the app's code that runs when its response is decided.
      def guarded
        yield
      rescue Exception => error # rubocop:disable Lint/RescueException
        Dyno.report(error)
      end

      # What becomes of a request whose app raised.
      def failed(error)
        case error
        when SystemExit
          LOG.write("the app called exit(#{error.status})\n")
          return 1
        when Errno::EPIPE
          return 0 if Response.begun # the client has gone; the dyno is as good as before
        end
        Dyno.report(error)
        # Half a response must not pass for a whole one: with its dyno, its connection ends.
        return 1 if Response.begun || error.is_a?(NoMemoryError)

        OUTPUT.syswrite("Status: 500\r\ncontent-type: text/plain\r\n\r\nInternal Server Error\n")
        0
      rescue Errno::EPIPE
        0
      end
    end
  end
end
