# frozen_string_literal: true

module Dyno
  # Serves requests: reads SCGI, calls the Rack app, and writes CGI.
  module Server
    CHUNK = 1 << 16
    EMPTY = EmptyInput.new
    # Constant part of the env in Rack 3. An app can hijack the response; the whole connection only when the client asks to
    # upgrade it (Hijack).
    RACK_3 = { "rack.errors" => LOG, "rack.hijack?" => true }.freeze
    # Constant part of the env in Rack 2, where `rack.hijack?` would promise a hijack of the whole connection.
    RACK_2 = {
      "rack.version" => [1, 3].freeze,
      "rack.errors" => LOG,
      "rack.multithread" => false,
      "rack.multiprocess" => true,
      "rack.run_once" => false
    }.freeze

    # Errors of an app that receives more than its dyno can hold.
    TOO_LARGE = [NoMemoryError, Errno::ENOSPC].freeze

    class << self
      # Sets the app, and adapts to the version of Rack that the app has loaded.
      def app=(app)
        @app = app
        rack_2 = defined?(::Rack::RELEASE) && ::Rack::RELEASE.to_i < 3
        @environment = rack_2 ? RACK_2 : RACK_3
        # Path of `OPTIONS *`, which Rack 2 does not support.
        @asterisk = rack_2 ? "" : "*"
        # Key of the callables that the app wants to be called after the response.
        @afterwards = rack_2 ? "rack.after_reply" : "rack.response_finished"
        Input.spills = rack_2
      end

      # Serves one request, and returns 0 if the dyno can serve another one.
      def serve
        env = read_env
        input = env["rack.input"]
        method = env["REQUEST_METHOD"]
        status = headers = body = error = nil
        Response.begun = false
        connects = env.delete("dyno.connection")
        Hijack.offer(env) if connects && defined?(Native)
        begin
          status, headers, body = @app.call(env)
          if connects && Hijack.taken?
            Hijack.wait
          else
            Response.write(status, headers, body, method, input)
          end
        rescue Exception => error # rubocop:disable Lint/RescueException -- an app's error must not end its dyno
        end
        guarded { body.close } if body.respond_to?(:close)
        return Hijack.finish(error) if connects && Hijack.taken?

        result = error ? failed(error, input) : 0
        finished(env, status, headers, error)
        input.discard
        result
      end

      # Serves one round of the sample requests that the host sends while it makes a release. Returns false if a request
      # has damaged the dyno.
      def warm_up
        loop { return false unless serve.zero? }
      rescue EOFError
        true
      end

      private

      # Reads the Rack env of the next request.
      def read_env
        env = @environment.dup
        first = read_head(env)
        # The CGI path is decoded, but Rack apps expect an encoded one and decode it themselves.
        uri = env["REQUEST_URI"]
        env["PATH_INFO"] = uri[/\A[^?]*/] if uri&.include?("%")
        env["PATH_INFO"] = @asterisk if uri == "*"
        # Rack 2's name for SERVER_PROTOCOL. This also overwrites a request header called Version.
        env["HTTP_VERSION"] = env["SERVER_PROTOCOL"]
        env["rack.input"] = input(env, first)
        env[@afterwards] = []
        env
      end

      # Adds the fields of the next request's head to `env`, and returns the bytes of its body that arrived with the
      # head.
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

        # The length is unknown. Frameworks read such a body only if this header is present.
        env.delete("CONTENT_LENGTH")
        env["HTTP_TRANSFER_ENCODING"] = "chunked"
        Input.new(nil, first)
      end

      # Calls the callables that the app registered for the time after the response.
      def finished(env, status, headers, error)
        finished = env["rack.response_finished"]
        after = env["rack.after_reply"]
        return unless (finished && !finished.empty?) || (after && !after.empty?)

        # A wait with a timeout of zero makes the host send the response first.
        defined?(Native) ? Native.send_response : IO.select(nil, [OUTPUT], nil, 0)
        finished&.reverse_each { |callable| guarded { callable.call(env, status, headers, error) } }
        after&.each { |callable| guarded { callable.call } }
      end

      # Runs code of the app that must not change the response, and logs its exceptions.
      def guarded
        yield
      rescue Exception => error # rubocop:disable Lint/RescueException
        Dyno.report(error)
      end

      # Handles an exception of the app, and returns the result of the request.
      def failed(error, input)
        case error
        when SystemExit
          LOG.write("the app called exit(#{error.status})\n")
          return 1
        when Errno::EPIPE
          return 0 if Response.begun # the client has disconnected; the dyno is intact
        end
        Dyno.report(error)
        return too_large if TOO_LARGE.include?(error.class) && input.large? && !Response.begun

        # An incomplete response must not look complete: the host ends the dyno, and the router closes the connection.
        return 1 if Response.begun || error.is_a?(NoMemoryError)

        OUTPUT.syswrite("Status: 500\r\ncontent-type: text/plain\r\n\r\nInternal Server Error\n")
        0
      rescue Errno::EPIPE
        0
      end

      # Rejects a body for which the dyno lacks memory or space in /tmp. Both are free again when the host replaces the
      # dyno, which it does after a request that needed much memory.
      def too_large
        OUTPUT.syswrite("Status: 413\r\ncontent-type: text/plain\r\n\r\nContent Too Large\n")
        0
      end
    end
  end
end
