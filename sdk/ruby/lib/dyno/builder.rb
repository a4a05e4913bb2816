# frozen_string_literal: true

module Dyno
  # Loads a rackup file with the bundle's Rack, or with this builder, which has the same methods, if the bundle lacks
  # Rack.
  class Builder
    class << self
      # Returns the app of the rackup file at `path`.
      def load(path)
        unless File.exist?(path)
          raise LoadError, "#{path} does not exist: add a rackup file (config.ru), which a web process needs"
        end

        source = File.read(path).split(/^__END__$/, 2).first.to_s
        return with_rack(source, path) if Gem.loaded_specs.key?("rack")

        # Evaluates the file at the top level, where its constants belong, and from the first line, which may be a magic
        # comment.
        binding, builder = TOPLEVEL_BINDING.eval("Dyno::Builder.new.instance_eval { [binding, self] }")
        eval(source, binding, path)
        builder.to_app
      end

      private

      def with_rack(source, path)
        require "rack"
        require "rack/builder"
        require "rack/utils" # loads URI, which Rack 2's Lint uses without requiring it
        app = ::Rack::Builder.new_from_string(source, path)
        app.is_a?(Array) ? app.first : app
      end
    end

    # `default` is the app for requests that neither `run` nor `map` handles.
    def initialize(default = nil, &block)
      @use = []
      @map = nil
      @run = default
      @complete = !default.nil?
      @warmup = nil
      @freeze = false
      instance_eval(&block) if block
    end

    def use(middleware, *arguments, **options, &block)
      use_map
      @use << ->(app) { middleware.new(app, *arguments, **options, &block) }
    end

    def run(app = nil, &block)
      @run = app || block
      @complete = true
    end

    def map(path, &block)
      (@map ||= {})[path] = block
      @complete = true
    end

    def warmup(callable = nil, &block)
      @warmup = callable || block
    end

    def freeze_app
      @freeze = true
    end

    def to_app
      raise ArgumentError, "the rackup file calls neither `run` nor `map`" unless @complete

      use_map
      app = @use.reverse.inject(frozen(@run)) { |inner, wrap| frozen(wrap.call(inner)) }
      @warmup&.call(app)
      app
    end

    private

    # Inserts the mapped apps into the chain of middleware, at the position of their `map` calls.
    def use_map
      return unless @map

      map = @map
      @map = nil
      @use << ->(app) { Paths.new(map.transform_values { |block| Builder.new(app, &block).to_app }, app) }
    end

    def frozen(app) = @freeze ? app.freeze : app

    # Forwards a request to the app with the longest matching path prefix.
    class Paths
      def initialize(apps, default)
        paths = apps.sort_by { |path, _| -path.length }
        @apps = paths.map { |path, app| path.b.chomp("/").then { |prefix| [prefix, "#{prefix}/".b, app] } }
        @default = default
      end

      def call(env)
        path = env["PATH_INFO"]
        prefix, _, app = @apps.find { |exact, below, _| path == exact || path.start_with?(below) }
        return default(env) unless app

        script = env["SCRIPT_NAME"]
        env["SCRIPT_NAME"] = script + prefix
        env["PATH_INFO"] = path.byteslice(prefix.bytesize..)
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
