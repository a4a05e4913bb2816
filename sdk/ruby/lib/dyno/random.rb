# frozen_string_literal: true

module Dyno
  # Gives random number generators a new state in each dyno, so that no two dynos of an image produce the same numbers.
  module Random
    # Generators that were created without a seed before the snapshot. Those with a seed are repeatable on purpose.
    @unseeded = []

    # Records generators that are created without a seed.
    module Unseeded
      def new(*seed)
        super.tap { |random| Random.note(random) if seed.empty? }
      end
    end

    class << self
      # Records a generator that is created before the snapshot and therefore exists in all dynos.
      def note(random) = @unseeded&.push(random)

      # Makes OpenSSL initialize its generator before the snapshot, because that takes a millisecond.
      def prepare
        ::OpenSSL::Random.random_bytes(1) if defined?(::OpenSSL::Random)
      end

      # Gives every recorded generator a new state.
      def reseed
        ::Random.srand
        @unseeded&.each { |random| random.send(:initialize) }
        @unseeded = nil
        # OpenSSL mixes the seed into its generator and derives a new state.
        ::OpenSSL::Random.seed(::Random.urandom(48)) if defined?(::OpenSSL::Random)
      end
    end

    ::Random.singleton_class.prepend(Unseeded)
  end
end
