# frozen_string_literal: true

module Dyno
  # rack.input: the request's body, read from descriptor 0 as the app reads it.
  #
  # What was read is kept up to a bound, so that it can be read again after `rewind`; a larger body can be read once.
  class Input
    # Bytes kept in memory: forms fit, and a dyno's memory is not filled by an upload that nobody reads twice.
    KEPT = 1 << 20
    CHUNK = 1 << 16
    # What `gets` reads at once; what it has read too far, it reads again.
    LINE = 1 << 12
    # More than a dyno's memory can hold.
    ALL = (1 << 30) - 1
    NONE = ""
    RECEIVED = "".b

    class << self
      # Whether a body that is too large for memory is kept in a file: Rack 2 asks for it.
      attr_accessor :spills
    end

    # `length` is the body's, nil if nobody knows it; `first` are those of its bytes that came with the head.
    def initialize(length, first)
      @left = length && length - first.bytesize
      @kept = first
      @bound = KEPT
      @position = 0
      @ahead = NONE
      @rewound = false
    end

    # As IO#read.
    def read(length = nil, buffer = nil)
      raise ArgumentError, "negative length #{length} given" if length&.negative?

      wanted = length || ALL
      part = again(wanted)
      part = buffer.replace(part) if buffer
      while part.bytesize < wanted
        more = receive(wanted - part.bytesize)
        break if more.empty?

        part << more
      end
      part.empty? && length&.positive? ? nil : part
    end

    # As IO#readpartial: what there is, without waiting for more.
    def readpartial(length, buffer = nil)
      part = again(length)
      part << receive(length) if part.empty?
      raise EOFError, "end of the request's body" if part.empty? && length.positive?

      buffer ? buffer.replace(part) : part
    end

    # The next line, nil at the end.
    def gets(separator = "\n")
      line = "".b
      from = 0
      until (found = line.index(separator, from))
        from = [line.bytesize - separator.bytesize, 0].max
        part = again(LINE)
        part = receive(LINE) if part.empty?
        return line.empty? ? nil : line if part.empty?

        line << part
      end
      finish = found + separator.bytesize
      unread(line.byteslice(finish..))
      line.byteslice(0, finish)
    end

    # Yields line after line.
    def each
      return to_enum unless block_given?

      while (line = gets)
        yield line
      end
      self
    end

    # Goes back to the start. Rack 2 does so after every form, whether or not anybody reads it again: so where the start
    # is kept no longer, it is the next read that fails.
    def rewind
      @rewound = @kept.nil?
      @position = 0
    end

    # The app needs no more of it.
    def close = nil

    # The request is served.
    def discard
      @kept.close if @kept.is_a?(Spill)
    end

    private

    # Bytes that were read before; empty where there are none ahead.
    def again(length)
      raise IOError, "the request's body was too large to be kept: it can be read only once" if @rewound
      return ahead(length) unless @kept

      part = @kept.byteslice(@position, length)
      @position += part.bytesize
      part
    end

    def ahead(length)
      return "".b if @ahead.empty?

      part = @ahead.byteslice(0, length)
      @ahead = @ahead.byteslice(length..) || NONE
      part
    end

    def unread(part)
      if @kept
        @position -= part.bytesize
      else
        @ahead = part << @ahead
      end
    end

    # New bytes, empty at the end; the string is used again. Where the length is known, the end is too, and needs no
    # EOFError.
    def receive(length)
      length = CHUNK if length > CHUNK
      length = @left if @left && @left < length
      return NONE if length.zero?

      INPUT.sysread(length, RECEIVED)
      @left -= RECEIVED.bytesize if @left
      keep(RECEIVED) if @kept
      RECEIVED
    rescue EOFError
      @left = 0
      NONE
    end

    def keep(part)
      @kept << part
      @position = @kept.bytesize
      outgrown if @position > @bound
    rescue Errno::ENOSPC
      forget
    end

    def outgrown
      return forget if !Input.spills || @kept.is_a?(Spill)

      @kept = Spill.new(@kept)
      @bound = Spill::LIMIT
    end

    def forget
      discard
      @kept = nil
    end
  end

  # A body in a file, as far as Input needs a String's methods of it.
  class Spill
    # Half of what a dyno may keep in /tmp: the other half is for the file that the app makes of the same upload. A larger
    # upload leaves all of it to the app.
    LIMIT = 32 << 20
    PATH = "/tmp/.corundum-body"

    attr_reader :bytesize

    def initialize(bytes)
      @file = File.new(PATH, File::RDWR | File::CREAT | File::TRUNC | File::BINARY)
      File.unlink(PATH)
      @bytesize = 0
      self << bytes
    end

    def <<(bytes)
      @file.pwrite(bytes, @bytesize)
      @bytesize += bytes.bytesize
      self
    end

    def byteslice(position, length)
      length = [length, @bytesize - position].min
      length.zero? ? "".b : @file.pread(length, position)
    end

    def close = @file.close
  end

  # rack.input of a request without a body; it has no state, so one serves all.
  class EmptyInput
    def read(length = nil, buffer = nil)
      raise ArgumentError, "negative length #{length} given" if length&.negative?

      buffer&.clear
      length&.positive? ? nil : buffer || "".b
    end

    def readpartial(*) = raise(EOFError, "the request has no body")
    def gets(*) = nil
    def each = block_given? ? self : [].each
    def rewind = 0
    def close = nil
    def discard = nil
  end
end
