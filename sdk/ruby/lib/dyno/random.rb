# frozen_string_literal: true

module Dyno
  # No two dynos of an image may produce the same random number.
  module Random
    # Generators made without a seed before the snapshot; those with one repeat themselves by intent.
    @unseeded = []

    # Notes generators that nobody gave a seed.
    module Unseeded
      def new(*seed)
        super.tap { |random| Random.note(random) if seed.empty? }
      end
    end

    class << self
      # Only what is made before the snapshot is in other dynos too.
      def note(random) = @unseeded&.push(random)

      # Has OpenSSL set its generator up, which takes a millisecond, before the snapshot.
      def prepare
        ::OpenSSL::Random.random_bytes(1) if defined?(::OpenSSL::Random)
      end

      # Gives every generator a new state.
      def reseed
        ::Random.srand
        @unseeded&.each { |random| random.send(:initialize) }
        @unseeded = nil
        # OpenSSL's takes up what it is given and draws a new state from it.
        ::OpenSSL::Random.seed(::Random.urandom(48)) if defined?(::OpenSSL::Random)
      end
    end

    ::Random.singleton_class.prepend(Unseeded)
  end
end
