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
      def note(random) = @unseeded << random

      def reseed
        ::Random.srand
        @unseeded.each { |random| random.send(:initialize) }
        reseed_openssl if defined?(::OpenSSL::Random)
      end

      private

      # OpenSSL's generator takes up what it is given and draws a new state from it.
      def reseed_openssl
        ::OpenSSL::Random.seed(::Random.urandom(48))
      end
    end

    ::Random.singleton_class.prepend(Unseeded)
  end
end
