# frozen_string_literal: true

module Dyno
  # Writes an app's response as CGI has it: head and body, in as few writes as the body allows.
  module Response
    # Bytes of a file that are read at once.
    CHUNK = 1 << 16

    class << self
      # `method` is the request's; `input` is handed to streaming bodies.
      def write(status, headers, body, method, input)
        status = status.to_i
        raise "the app answered with status #{status.inspect}" unless status.between?(100, 999)

        out = "Status: #{status}\r\n".b
        hijack = append_headers(out, headers)
        out << "\r\n"
        if hijack
          OUTPUT.syswrite(out)
          hijack.call(Stream.new(input))
        elsif method == "HEAD" || status == 204 || status == 304 || status < 200
          OUTPUT.syswrite(out)
        else
          write_body(out, body, input)
        end
      end

      private

      # Adds the header lines; returns the callable of a partial hijack.
      def append_headers(out, headers)
        hijack = nil
        names = headers.respond_to?(:keys) ? headers.keys : headers.map(&:first)
        index = 0
        while index < names.length
          name = names[index]
          index += 1
          value = headers[name]
          if name.start_with?("rack.")
            hijack = value if name == "rack.hijack"
          elsif value.is_a?(Array)
            value.each { |line| out << name << ": " << line.to_s << "\r\n" }
          else
            append_header(out, name, value.to_s)
          end
        end
        hijack
      end

      # Rack 2 has the lines of a repeated header in one string.
      def append_header(out, name, value)
        if value.include?("\n")
          value.split("\n").each { |line| out << name << ": " << line << "\r\n" }
        else
          out << name << ": " << value << "\r\n"
        end
      end

      def write_body(out, body, input)
        if body.is_a?(Array)
          index = 0
          while index < body.length
            out << body[index].b
            index += 1
          end
          OUTPUT.syswrite(out)
        elsif body.respond_to?(:to_path) && (path = body.to_path) && File.file?(path)
          write_file(out, path)
        elsif body.respond_to?(:each)
          write_each(out, body)
        elsif body.respond_to?(:call)
          OUTPUT.syswrite(out)
          body.call(Stream.new(input))
        else
          raise "the app's body is a #{body.class}, which responds to neither each nor call"
        end
      end

      def write_each(out, body)
        body.each do |part|
          part = part.to_s
          next if part.empty?

          if out
            OUTPUT.syswrite(out << part.b)
            out = nil
          else
            OUTPUT.syswrite(part)
          end
        end
        OUTPUT.syswrite(out) if out
      end

      def write_file(out, path)
        OUTPUT.syswrite(out)
        File.open(path, "rb") do |file|
          while (part = file.read(CHUNK))
            OUTPUT.syswrite(part)
          end
        end
      end
    end
  end
end
