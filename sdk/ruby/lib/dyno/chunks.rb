# frozen_string_literal: true

module Dyno
  # Removes the frames of a body that the app has framed by itself, with `Transfer-Encoding: chunked` (RFC 9112 section
  # 7.1), as Rack::Chunked and Rails' `render stream: true` do. The router frames bodies for its clients.
  class Chunks
    # Bytes of the longest line with a size.
    LINE = 1 << 12

    # Yields the bytes of all chunks of a body.
    def self.each(body)
      chunks = new
      body.each { |part| yield chunks.take(part.to_s) }
      chunks.finish
    end

    def initialize
      @waiting = "".b
      @left = 0
      @state = :size
    end

    # Returns the bytes of chunks in `part`, which follows the parts before.
    def take(part)
      @waiting << part.b
      out = "".b
      nil while !@waiting.empty? && step(out)
      out
    end

    # Raises unless the last chunk has come.
    def finish
      invalid("it ends within a chunk") unless @state == :done
    end

    private

    # Takes a line or bytes of a chunk; returns false if more bytes are necessary.
    def step(out)
      case @state
      when :size then size
      when :data then data(out)
      when :end_of_data then end_of_data
      else
        @waiting.clear # trailers
        false
      end
    end

    def size
      return false unless (line = line())

      digits = line[/\A[0-9a-f]{1,15}(?=[ \t;]|\z)/i] || invalid("#{line.inspect} is not the size of a chunk")
      @left = digits.hex
      @state = @left.zero? ? :done : :data
      true
    end

    def data(out)
      part = @waiting.slice!(0, @left)
      out << part
      @left -= part.bytesize
      @state = :end_of_data if @left.zero?
      true
    end

    def end_of_data
      return false unless (line = line())

      invalid("a chunk is longer than its size") unless line.empty?
      @state = :size
      true
    end

    def line
      finish = @waiting.index("\r\n")
      return @waiting.slice!(0, finish + 2).chomp("\r\n") if finish

      invalid("a size has no end") if @waiting.bytesize > LINE
      nil
    end

    def invalid(reason)
      raise IOError, "the app frames its body (Transfer-Encoding: chunked), and #{reason}"
    end
  end
end
