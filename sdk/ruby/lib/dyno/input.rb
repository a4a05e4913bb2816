# frozen_string_literal: true

module Dyno
  # rack.input: the request's body, which is received when the app reads it.
  #
  # The bytes are kept up to a limit, so that the app can read them again after `rewind`. A larger body can be read
  # once.
  class Input
    # Bytes kept in memory. Forms fit, and an upload, which apps rarely read twice, does not fill a dyno's memory.
    KEPT = 1 << 20
    CHUNK = 1 << 16
    # Bytes that `gets` reads at once. It puts back the bytes after the line.
    LINE = 1 << 12
    # Length for reading everything; more than a dyno's memory can hold.
    ALL = (1 << 30) - 1
    NONE = ""
    RECEIVED = "".b

    class << self
      # True to keep a body that is too large for memory in a file, as Rack 2 requires.
      attr_accessor :spills
    end

    # `length` is the body's length, nil if it is unknown; `first` holds the bytes that arrived with the head.
    def initialize(length, first)
      @left = length && length - first.bytesize
      @kept = first
      @bound = KEPT
      @position = 0
      @ahead = NONE
      @rewound = false
    end

    # Same as IO#read.
    def read(length = nil, buffer = nil)
      raise ArgumentError, "negative length #{length} given" if length&.negative?

      wanted = length || ALL
      part = again(wanted)
      part = read_known(part) if length.nil? && @left
      part = buffer.replace(part) if buffer
      while part.bytesize < wanted
        more = receive(wanted - part.bytesize)
        break if more.empty?

        part << more
      end
      part.empty? && length&.positive? ? nil : part
    end

    # Same as IO#readpartial: returns the available bytes without waiting for more.
    def readpartial(length, buffer = nil)
      part = again(length)
      part << receive(length) if part.empty?
      raise EOFError, "end of the request's body" if part.empty? && length.positive?

      buffer ? buffer.replace(part) : part
    end

    # Returns the next line, nil at the end.
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

    # Yields each line.
    def each
      return to_enum unless block_given?

      while (line = gets)
        yield line
      end
      self
    end

    # Returns to the start. Rack 2 rewinds after every form, even if the app does not read it again. Therefore rewinding
    # never fails; if the start is not kept any more, the next read fails.
    def rewind
      @rewound = @kept.nil?
      @position = 0
    end

    # Does nothing; the host discards the rest of a body.
    def close = nil

    # Releases the file of a large body after the request.
    def discard
      @kept.close if @kept.is_a?(Spill)
    end

    # Tells whether the body is too large to be kept in memory.
    def large? = !@kept.is_a?(String) || (!@left.nil? && @left > KEPT)

    private

    # Reads the rest of a body of known length behind `part`. A string that grows by doubling needs three times its size,
    # so this method makes room for the whole body once an eighth has arrived; a body that the dyno cannot hold fails then.
    def read_known(part)
      whole = part.bytesize + @left
      [whole / 8, whole].each do |size|
        part = String.new(part, capacity: size) if size > CHUNK
        while part.bytesize < size
          more = receive(size - part.bytesize)
          return part if more.empty?

          part << more
        end
      end
      part
    end

    # Returns kept bytes from the current position; an empty string if there are none.
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

    # Reads new bytes into a string that later calls reuse; returns an empty string at the end. If the length is known,
    # the end is found without an EOFError.
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

  # A body in a file, with the methods of String that Input needs.
  class Spill
    # Half of a dyno's space in /tmp; the other half is for the file that the app writes for the same upload. A larger
    # upload is not kept, so that the app can use all space.
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

  # rack.input of requests without a body. It has no state, so all requests share one object.
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
    def large? = false
  end
end
