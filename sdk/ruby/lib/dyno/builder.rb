# frozen_string_literal: true

module Dyno
  # Loads a rackup file: by the bundle's own Rack, or, where there is none, by this builder of the same few words.
  class Builder
    # The app of the rackup file at `path`.
    def self.load(path)
      unless File.exist?(path)
        raise LoadError, "#{path} does not exist: a web process needs a rackup file (config.ru)"
      end

      source = File.read(path)
      source = source.split(/^__END__$/, 2).first
      if Bundle.include?("rack")
        require "rack"
        require "rack/builder"
        app = ::Rack::Builder.new_from_string(source, path)
        return app.is_a?(Array) ? app.first : app
      end
      # Evaluated at the top level, where the file's constants belong.
      eval("Dyno::Builder.new {\n#{source}\n}.to_app", TOPLEVEL_BINDING.dup, path, 0)
    end

    def initialize(&block)
      @use = []
      @map = {}
      @run = nil
      @warmup = nil
      instance_eval(&block) if block
    end

    def use(middleware, *arguments, **options, &block)
      @use << ->(app) { middleware.new(app, *arguments, **options, &block) }
    end

    def run(app = nil, &block)
      @run = app || block
    end

    def map(path, &block)
      @map[path] = block
    end

    def warmup(&block)
      @warmup = block
    end

    def freeze_app
      @freeze = true
    end

    def to_app
      app = @map.empty? ? @run : Paths.new(@map.transform_values { |block| Builder.new(&block).to_app }, @run)
      raise ArgumentError, "the rackup file says neither `run` nor `map`" unless app

      app = @use.reverse.inject(app) { |inner, wrap| wrap.call(inner) }
      app.freeze if @freeze
      @warmup&.call(app)
      app
    end

    # Sends a request to the app whose path it is under, the longest first.
    class Paths
      def initialize(apps, default)
        @apps = apps.sort_by { |path, _| -path.length }.map { |path, app| [path.chomp("/"), app] }
        @default = default
      end

      def call(env)
        path = env["PATH_INFO"]
        found = @apps.find { |prefix, _| path == prefix || path.start_with?("#{prefix}/") }
        return default(env) unless found

        prefix, app = found
        script = env["SCRIPT_NAME"]
        env["SCRIPT_NAME"] = script + prefix
        env["PATH_INFO"] = path[prefix.length..]
        begin
          app.call(env)
        ensure
          env["SCRIPT_NAME"] = script
          env["PATH_INFO"] = path
        end
      end

      private

      def default(env)
        return @default.call(env) if @default

        [404, { "content-type" => "text/plain", "x-cascade" => "pass" }, ["Not Found: #{env["PATH_INFO"]}"]]
      end
    end
  end
end
