# frozen_string_literal: true

module Dyno
  # Evaluates a Gemfile and gemspecs for the compiler, with Bundler and RubyGems.
  class Gemfile
    # Notes the line of the Gemfile that names each gem.
    module Lines
      def lines = @lines ||= {}

      def gem(name, ...)
        place = caller_locations.find { |location| location.path.start_with?("/app/") }
        lines[name.to_s] ||= [place.path.delete_prefix("/app/"), place.lineno] if place
        super
      end
    end

    class << self
      # Evaluates the Gemfile at `path`, and returns its gems as a hash for the compiler.
      def evaluate(path)
        require "bundler"
        gemfile = Bundler::Dsl.new.extend(Lines)
        gemfile.eval_gemfile(path)
        groups = wanted_groups(gemfile)
        gems = gemfile.dependencies.map { |dependency| describe(dependency, groups, gemfile.lines[dependency.name]) }
        { "gems" => gems, "error" => nil }
      rescue Bundler::Dsl::DSLError, Bundler::GemfileError => error
        raise error.cause if error.cause.is_a?(SystemExit)

        { "gems" => [], "error" => error.message }
      rescue StandardError, ScriptError => error
        { "gems" => [], "error" => error.full_message(highlight: false, order: :top) }
      end

      # Writes the specifications of the gems in `directory`, whose metadata are YAML, as RubyGems does when it installs
      # them.
      def specifications(directory)
        Dir.children(directory).sort.to_h do |file|
          text = File.read("#{directory}/#{file}", encoding: Encoding::UTF_8)
          [file.delete_suffix(".yaml"), specification(text)]
        rescue StandardError => error
          [file.delete_suffix(".yaml"), { "error" => error.message }]
        end
      end

      private

      def specification(text)
        spec = Gem::Specification.from_yaml(text)
        spec.extensions = []
        spec.installed_by_version = Gem.rubygems_version
        spec.to_ruby_for_cache
      end

      # Returns the groups that a running app loads.
      def wanted_groups(gemfile)
        named = gemfile.dependencies.flat_map(&:groups).uniq
        optional = gemfile.instance_variable_get(:@optional_groups) - Bundler.settings[:with]
        named - Bundler.settings[:without] - optional
      end

      def describe(dependency, groups, line)
        file, number = line
        {
          "name" => dependency.name,
          "requirements" => dependency.requirement.as_list,
          "wanted" => dependency.should_include? && !(dependency.groups & groups).empty?,
          "file" => file, "line" => number
        }
      end
    end
  end
end
