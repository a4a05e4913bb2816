# frozen_string_literal: true

module Dyno
  # The app's gems, as the compiler has put them into the slug. This module replaces Bundler, which would slowly resolve
  # the versions that the lockfile already determines.
  module Bundle
    # A gem of the bundle; `path` is nil if the pack includes the gem.
    Locked = Struct.new(:name, :version, :path, :require_paths, :groups, :autorequire, keyword_init: true)

    @gems = {}

    class << self
      attr_reader :gems

      # Adds the gems that the file lists to the load path.
      def load(file)
        return unless File.exist?(file)

        JSON.parse(File.read(file)).fetch("gems").each { |gem| add(gem) }
        paths = @gems.values.flat_map do |gem|
          gem.path ? gem.require_paths.map { |path| "#{gem.path}/#{path}" } : []
        end
        $LOAD_PATH.unshift(*paths)
        @gems.each_value { |gem| activate(gem) }
      end

      # Requires the gems of `groups`, like Bundler.require.
      def require_groups(groups)
        groups = groups.empty? ? [:default] : groups.map(&:to_sym)
        @gems.each_value do |gem|
          next if (gem.groups & groups).empty?

          require_gem(gem)
        end
      end

      # Tells whether the bundle has a gem of this name.
      def include?(name) = @gems.key?(name)

      private

      def add(gem)
        @gems[gem["name"]] = Locked.new(
          name: gem["name"], version: gem["version"], path: gem["path"],
          require_paths: gem["require_paths"], groups: gem["groups"].map(&:to_sym),
          autorequire: gem["require"]
        )
      end

      # Registers the gem with RubyGems, for code that asks for the version of a gem.
      def activate(gem)
        return unless defined?(Gem::Specification)

        spec = Gem::Specification.new do |s|
          s.name = gem.name
          s.version = gem.version
          s.require_paths = gem.require_paths
        end
        path = gem.path
        spec.define_singleton_method(:full_gem_path) { path } if path
        Gem.loaded_specs[gem.name] = spec
      end

      def require_gem(gem)
        return gem.autorequire.each { |name| Kernel.require(name) } if gem.autorequire

        begin
          Kernel.require(gem.name)
        rescue LoadError => error
          raise if error.path && error.path != gem.name

          begin
            Kernel.require(gem.name.tr("-", "/"))
          rescue LoadError
            nil # some gems have no file of their own name
          end
        end
      end
    end
  end
end

# Defines the methods of Bundler that apps call.
module Bundler
  # Same as in Bundler.
  class BundlerError < StandardError; end

  # Same as in Bundler.
  class GemNotFound < BundlerError; end

  class << self
    def setup(*) = self
    def require(*groups) = Dyno::Bundle.require_groups(groups)
    def root = Pathname.new("/app")
    def default_gemfile = root.join("Gemfile")
    def with_unbundled_env = yield
    alias with_clean_env with_unbundled_env
    alias with_original_env with_unbundled_env
  end
end
$LOADED_FEATURES << "bundler.rb" << "bundler/setup.rb"

module Kernel
  private

  # Does nothing, because the whole bundle and the pack's own libraries are on the load path already. RubyGems calls
  # this method for every required default gem.
  def gem(*) = true
end
