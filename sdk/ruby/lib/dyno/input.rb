# frozen_string_literal: true

module Dyno
  # rack.input: the request's body, read from descriptor 0 as the app reads it.
  #
  # What was read is kept up to a bound, so that it can be read again after `rewind`; a larger body can be read once.
  class Input
    # Bytes kept for `rewind`: forms fit, and a dyno's memory is not filled by an upload that nobody reads twice.
    KEPT = 1 << 20
    CHUNK = 1 << 16

    # Bytes of the body that came with the head.
    def initialize(first)
      @kept = first
      @position = 0
      @ended = false
      @lost = false
    end

    # As IO#read.
    def read(length = nil, buffer = nil)
      raise IOError, "the body was larger than #{KEPT} bytes: it can be read only once" if @lost == :rewound

      result = length ? read_some(length) : read_all
      return result unless buffer

      buffer.replace(result || "")
      result && buffer
    end

    # As IO#gets.
    def gets(separator = $/)
      line = "".b
      return read if separator.nil?

      while (part = read(1))
        line << part
        break if line.end_with?(separator)
      end
      line.empty? ? nil : line
    end

    # As IO#each_line.
    def each
      return to_enum unless block_given?

      while (line = gets)
        yield line
      end
    end

    # Goes back to the start.
    def rewind
      @lost = :rewound if @lost
      @position = 0
    end

    def close = nil

    private

    def read_all
      result = "".b
      while (part = read_some(CHUNK))
        result << part
      end
      result
    end

    def read_some(length)
      return "".b if length.zero?

      fill(length)
      part = @kept.byteslice(@position, length)
      return nil if part.nil? || part.empty?

      @position += part.bytesize
      forget if @position > KEPT
      part
    end

    # Reads until `length` bytes lie ahead, or the body ends.
    def fill(length)
      until @ended || @kept.bytesize - @position >= length
        begin
          @kept << INPUT.sysread(CHUNK)
        rescue EOFError
          @ended = true
        end
      end
    end

    def forget
      @kept = @kept.byteslice(@position..)
      @position = 0
      @lost = true
    end
  end

  # rack.input of a request without a body; it has no state, so one serves all.
  class EmptyInput
    def read(length = nil, buffer = nil)
      buffer&.clear
      length && length.positive? ? nil : (buffer || "".b)
    end

    def gets(*) = nil
    def each = self
    def rewind = 0
    def close = nil
  end
end
