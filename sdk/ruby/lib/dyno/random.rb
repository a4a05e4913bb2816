# frozen_string_literal: true

module Dyno
  # Gives random number generators a new state in each dyno, so that no two dynos of an image draw the same numbers.
  #
  # A generator keeps its sequence only if the program chose its seed, as in `Random.new(42)`. All others get a new seed:
  # those without one, their copies (`dup`, Marshal), and those whose seed is a number or consists of bytes that a
  # generator returned while the app booted, as in `Random.new(Random.new_seed)`. Kernel#rand gets one in any case, as in
  # a forked process.
  #
  # The generators of a booted app are found by a search of its heap, so that it does not matter who holds them. In the
  # build from source they forget their state before the snapshot, and take a seed when they are first used.
  module Random
    # Smaller seeds are more likely constants of the program than numbers that were drawn: `rand(100)` may return 42.
    SMALL = 1 << 24
    # Bounds of what is remembered while the app boots.
    MOST_NUMBERS = 100_000
    MOST_BYTES = 1 << 20
    # Methods that return random numbers, bytes or seeds.
    SOURCES = [
      [::Random::Base, :seed], [::Random::Base, :rand], [::Random::Base, :bytes],
      [::Random.singleton_class, :new_seed], [::Random.singleton_class, :seed], [::Random.singleton_class, :srand],
      [::Random.singleton_class, :rand], [::Random.singleton_class, :bytes], [::Random.singleton_class, :urandom],
      [::Random::Formatter, :random_number], [::Random::Formatter, :rand],
      [::Kernel, :rand], [::Kernel, :srand], [::Kernel.singleton_class, :rand], [::Kernel.singleton_class, :srand]
    ].freeze
    # Methods that a subclass may override.
    SEED = ::Random::Base.instance_method(:seed)
    INITIALIZE = ::Random::Base.instance_method(:initialize)

    @replaced = []
    @generators = []

    class << self
      # Starts to remember where seeds come from.
      def watch
        @drawn = {}
        @bytes = "".b
        @chosen = {}
        @most_chosen = MOST_NUMBERS
        SOURCES.each { |owner, name| replace(owner, name) { |_, _, result| drew(result) } }
        replace(::Random::Base, :initialize) { |generator, seed| seed.empty? || choose(generator) }
        replace(::Random, :marshal_load) { |generator, _| choose(generator) }
        replace(::Random, :marshal_dump) { |generator, _| drew(SEED.bind_call(generator)) unless chosen?(generator) }
      end

      # Makes OpenSSL initialize its generator before the snapshot, because that takes a millisecond.
      def prepare
        ::OpenSSL::Random.random_bytes(1) if defined?(::OpenSSL::Random)
      end

      # Finds the generators that need a new seed in each dyno. No number may be drawn between this and the snapshot.
      def settle
        restore_methods
        @generators = ObjectSpace.each_object(::Random).reject { |generator| chosen?(generator) }
        @drawn = @bytes = @chosen = nil
        return forget if defined?(Native)

        frozen = @generators.any?(&:frozen?)
        raise FrozenError, "a frozen Random cannot get a new seed in each dyno on this Ruby: do not freeze it" if frozen
      end

      # Gives the generators of a new dyno a new state.
      def reseed
        if defined?(Native)
          Native.forget(nil)
        else
          ::Random.srand
          @generators.each { |random| INITIALIZE.bind_call(random) }
          @generators = []
        end
        # OpenSSL mixes the seed into its generator and derives a new state.
        ::OpenSSL::Random.seed(::Random.urandom(48)) if defined?(::OpenSSL::Random)
      end

      private

      # Replaces a method by one that calls the block with the receiver, the arguments and the result.
      def replace(owner, name, &note)
        original = owner.instance_method(name)
        return unless original.owner == owner

        is_private = owner.private_method_defined?(name)
        @replaced << [owner, name, original, is_private]
        owner.define_method(name) do |*arguments|
          result = original.bind_call(self, *arguments)
          note.call(self, arguments, result)
          result
        end
        owner.send(:private, name) if is_private
      end

      def restore_methods
        verbose = $VERBOSE
        $VERBOSE = nil
        @replaced.each do |owner, name, original, is_private|
          owner.define_method(name, original)
          owner.send(:private, name) if is_private
        end
        @replaced = []
      ensure
        $VERBOSE = verbose
      end

      def forget
        @generators.each { |generator| Native.forget(generator) }
        @generators = []
        Native.forget(nil)
      end

      # Remembers a number or bytes that a generator returned.
      def drew(result)
        case result
        when Integer
          @drawn[result.abs] = true if result.abs >= SMALL && @drawn.length < MOST_NUMBERS
        when String
          @bytes << result.b if @bytes.bytesize < MOST_BYTES
        end
      end

      # Remembers the seed of a generator that the program seeded, unless the seed was drawn.
      def choose(generator)
        seed = SEED.bind_call(generator)
        return if drawn?(seed.abs)

        prune if @chosen.length >= @most_chosen
        @chosen[seed] = true
      end

      # Forgets the seeds of generators that are gone.
      def prune
        seeds = ObjectSpace.each_object(::Random).map { |generator| SEED.bind_call(generator) }
        @chosen = @chosen.slice(*seeds)
        @most_chosen = [MOST_NUMBERS, 2 * @chosen.length].max
      end

      def chosen?(generator) = @chosen.key?(SEED.bind_call(generator))

      def drawn?(seed)
        return false if seed < SMALL
        return true if @drawn.key?(seed)

        digits = seed.digits(256).pack("C*")
        @bytes.include?(digits) || @bytes.include?(digits.reverse)
      end
    end
  end
end
