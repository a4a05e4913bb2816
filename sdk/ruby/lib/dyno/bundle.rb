# frozen_string_literal: true

module Dyno
  # The app's gems, which the compiler has put into the slug as `bundle install --deployment` does. RubyGems and Bundler
  # are those of MRI; dyno/bundler.rb adapts the latter.
  module Bundle
    HOME = "/app/vendor/bundle/ruby/#{RbConfig::CONFIG["ruby_version"]}"

    class << self
      # Tells whether the app has a bundle. A Gemfile without gems needs no lockfile.
      def present? = File.file?("/app/Gemfile") && File.file?("/app/Gemfile.lock")

      # Lets RubyGems find the gems, as GEM_PATH does on Heroku. Code without Bundler sees them like any installed gem.
      def locate
        Gem.use_paths(HOME, Gem.default_dir) if Dir.exist?(HOME)
      end

      # Restricts Ruby to the bundle, as `bundle exec` does.
      def setup
        require "bundler/setup" if present?
      end

      # Forgets the default gems that Corundum's own code has loaded: the bundle may lock them in other versions.
      def forget(kept)
        Gem.loaded_specs.keep_if { |name, _| kept.include?(name) }
      end

      # Brings a lockfile into the form of a bundle for the platform `ruby` alone. The compiler installs the plain form
      # of every gem.
      def plain(lockfile)
        plain = lockfile.scan(/^    (\S+) \([^-)]+\)\r?$/).flatten.to_h { |name| [name, true] }
        title = nil
        dropped = false
        lines = lockfile.lines(chomp: true).filter_map do |line|
          title = line if line.match?(/\A[A-Z]/)
          case line
          when /\A    (\S+) \(([^-)]+)-[^)]+\)\z/
            name, version = $1, $2
            dropped = plain.key?(name)
            plain[name] = true
            next "    #{name} (#{version})" unless dropped
          when /\A      / then line unless dropped
          else
            dropped = false
            line unless title == "PLATFORMS" && line.start_with?("  ")
          end
        end
        lines = lines.grep_v("PLATFORMS") + ["", "PLATFORMS", "  ruby", ""]
        lines.join("\n")
      end
    end
  end
end
