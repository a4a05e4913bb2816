# frozen_string_literal: true

# Stands in for a web server: a dyno serves requests itself.
module Puma
  # Same as in Puma.
  module Const
    PUMA_VERSION = VERSION = Gem.loaded_specs["puma"]&.version.to_s.freeze
  end

  class << self
    def stats_hash = {}
    def stats = "{}"
    def cli_config = nil
  end
end
