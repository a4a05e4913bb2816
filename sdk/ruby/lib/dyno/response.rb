# frozen_string_literal: true

module Dyno
  # Writes an app's response in CGI's format, a head and a body, with as few writes as the body allows.
  module Response
    # Bytes of a file that are read at once, and of an array's strings that are joined.
    CHUNK = 1 << 16

    class << self
      # True if a part of the response has been written, so that no other response can replace it.
      attr_accessor :begun

      # `method` is the request's method; `input` is for streaming bodies.
      def write(status, headers, body, method, input)
        status = status.to_i
        raise "the app returned an invalid status: #{status}" unless status.between?(100, 999)

        @chunked = false
        out = "Status: #{status}\r\n".b
        hijack = headers.is_a?(Hash) ? append_hash(out, headers) : append_pairs(out, headers)
        out << "\r\n"
        if hijack
          put(out)
          stream(hijack, input)
        elsif method == "HEAD" || status == 204 || status == 304 || status < 200
          put(out)
        else
          write_body(out, body, input)
        end
      end

      private

      def put(bytes)
        @begun = true
        OUTPUT.syswrite(bytes)
      end

      # Appends the header lines, and returns the callable of a partial hijack. A block would cost more than this loop.
      def append_hash(out, headers)
        hijack = nil
        names = headers.keys
        index = 0
        while index < names.length
          name = names[index]
          index += 1
          value = headers[name]
          if name.start_with?("rack.")
            hijack = value if name == "rack.hijack"
          else
            append_header(out, name, value)
          end
        end
        hijack
      end

      # Same for other objects: Rack 2 only requires that headers yield names and values.
      def append_pairs(out, headers)
        hijack = nil
        headers.each do |name, value|
          if name.start_with?("rack.")
            hijack = value if name == "rack.hijack"
          else
            append_header(out, name, value)
          end
        end
        hijack
      end

      # Appends a header. A repeated header is an array in Rack 3, and a string with several lines in Rack 2. The name
      # is written before each line, so that a value cannot inject another header.
      def append_header(out, name, value)
        return value.each { |item| append_header(out, name, item) } if value.is_a?(Array)
        if name.include?("\n") || (name.length == 6 && name.casecmp("status").zero?)
          raise "the app returned an invalid header name: #{name.inspect}"
        end
        return if value.nil?
        # The router decides how a body travels, so a frame of the app's own is removed.
        return @chunked = value.to_s.match?(/\bchunked\s*\z/i) if name.length == 17 && name.casecmp("transfer-encoding").zero?

        value = value.to_s
        value = value.b unless value.ascii_only?
        if value.include?("\n")
          value.split("\n").each { |line| out << name << ": " << line << "\r\n" }
        else
          out << name << ": " << value << "\r\n"
        end
      end

      def write_body(out, body, input)
        if @chunked && body.respond_to?(:each)
          put(out)
          Chunks.each(body) { |part| OUTPUT.syswrite(part) unless part.empty? }
        elsif body.is_a?(Array)
          write_array(out, body)
        elsif body.respond_to?(:to_path) && (path = body.to_path) && File.file?(path)
          write_file(out, path)
        elsif body.respond_to?(:each)
          write_each(out, body)
        elsif body.respond_to?(:call)
          put(out)
          stream(body, input)
        else
          raise "the app's body is a #{body.class}, which responds to neither each nor call"
        end
      end

      def stream(callable, input)
        chunks = Chunks.new if @chunked
        callable.call(Stream.new(input, chunks))
        chunks&.finish
      end

      # Writes small strings together with the head in one write, and large ones without a copy.
      def write_array(out, body)
        index = 0
        while index < body.length
          part = body[index]
          index += 1
          if out.bytesize + part.bytesize < CHUNK
            out << part.b
          else
            put(out)
            put(part)
            out.clear
          end
        end
        put(out) unless out.empty?
      end

      def write_each(out, body)
        body.each do |part|
          part = part.to_s
          next if part.empty?

          if out
            put(out << part.b)
            out = nil
          else
            OUTPUT.syswrite(part)
          end
        end
        put(out) if out
      end

      def write_file(out, path)
        File.open(path, "rb") do |file|
          put(out)
          part = "".b
          OUTPUT.syswrite(part) while file.read(CHUNK, part)
        end
      end
    end
  end
end
