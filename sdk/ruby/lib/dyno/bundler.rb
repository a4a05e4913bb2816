# frozen_string_literal: true

module Dyno
  module Bundle
    # Lets a bundle use the gems of the pack beside those of the slug.
    module Paths
      def load_gemspec_uncached(...) = Gemspec.evaluate { super }

      private

      def configure_gem_path
        Bundler::SharedHelpers.set_env "GEM_PATH", Gem.default_dir unless use_system_gems?
      end
    end

    # Ignores the platforms for which a lockfile was resolved.
    module PlainLockfile
      def initialize(lockfile, **options) = super(Bundle.plain(lockfile), **options)
    end

    # Accepts other patch levels of the series of Ruby that the Gemfile asks for, since a pack has one.
    module OneVersion
      def validate_ruby!
        super
      rescue Bundler::RubyVersionMismatch
        raise unless asks_for_series?
      end

      private

      def asks_for_series?
        asked = ruby_version
        series = Gem.ruby_version.segments.first(2)
        asked.engine == "ruby" && asked.versions.all? do |text|
          Gem::Requirement.new(text.sub(/p-?\d+\z/, "")).requirements.all? do |_, version|
            version.segments.first(2) == series
          end
        end
      end
    end
  end
end

Bundler.singleton_class.prepend(Dyno::Bundle::Paths)
Bundler::LockfileParser.prepend(Dyno::Bundle::PlainLockfile)
Bundler::Definition.prepend(Dyno::Bundle::OneVersion)
Bundler.autoload(:Installer, "#{__dir__}/installer.rb")
