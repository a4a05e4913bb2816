# frozen_string_literal: true

module Dyno
  # Evaluates a Gemfile. The compiler compares the result with the lockfile.
  class Gemfile
    # Evaluates the Gemfile at `path`, and returns its contents as a hash for the compiler.
    def self.evaluate(path)
      gemfile = new
      gemfile.instance_eval(File.read(path), path)
      gemfile.to_h.merge("error" => nil)
    rescue StandardError, ScriptError => error
      message = error.full_message(highlight: false, order: :top)
      { "ruby" => nil, "sources" => [], "gems" => [], "error" => message }
    end

    def initialize
      @ruby = nil
      @sources = []
      @gems = []
      @groups = []
      @platforms = []
      @from = nil
      @git_sources = {
        github: ->(name) { "https://github.com/#{name.include?("/") ? name : "#{name}/#{name}"}.git" }
      }
    end

    def to_h = { "ruby" => @ruby, "sources" => @sources, "gems" => @gems }

    def source(uri, &block)
      uri = "https://rubygems.org" if uri == :rubygems
      return @sources << uri.to_s unless block

      from({ "type" => "rubygems", "uri" => uri.to_s }, &block)
    end

    def ruby(*requirements, file: nil, **)
      requirements = [File.read("/app/#{file}").strip.delete_prefix("ruby-")] if file
      @ruby = requirements.flatten.join(", ")
    end

    def gem(name, *requirements, **options)
      groups = Array(options[:group] || options[:groups]).map(&:to_s) | @groups
      platforms = Array(options[:platform] || options[:platforms]).map(&:to_s) | @platforms
      @gems << {
        "name" => name.to_s, "requirements" => requirements.flatten.map(&:to_s),
        "groups" => groups.empty? ? ["default"] : groups, "platforms" => platforms,
        "require" => autorequire(options), "source" => origin(options)
      }
    end

    def group(*names, **, &block) = nested(@groups, names, &block)

    def platforms(*names, &block) = nested(@platforms, names, &block)
    alias platform platforms

    def git(uri, **, &block) = from({ "type" => "git", "uri" => uri.to_s }, &block)

    def path(path, **, &block) = from({ "type" => "path", "uri" => path.to_s }, &block)

    def github(name, **, &block) = git(@git_sources[:github].call(name), &block)

    def git_source(name, &block) = @git_sources[name.to_sym] = block

    def install_if(*) = yield

    def gemspec(path: ".", **)
      from({ "type" => "path", "uri" => path }) { gem(File.basename(Dir["/app/#{path}/*.gemspec"].first.to_s, ".gemspec")) }
    end

    def eval_gemfile(path) = instance_eval(File.read(File.expand_path(path, "/app")), path)

    def plugin(*) = nil

    private

    def nested(list, names)
      list.concat(names.map(&:to_s))
      yield
    ensure
      list.pop(names.length)
    end

    def from(origin)
      outer = @from
      @from = origin
      yield
    ensure
      @from = outer
    end

    def autorequire(options)
      return nil unless options.key?(:require)

      value = options[:require]
      value == true ? nil : Array(value || []).map(&:to_s)
    end

    def origin(options)
      return { "type" => "git", "uri" => options[:git].to_s } if options[:git]
      return { "type" => "path", "uri" => options[:path].to_s } if options[:path]

      @git_sources.each do |name, uri|
        return { "type" => "git", "uri" => uri.call(options[name].to_s).to_s } if options[name]
      end
      @from || { "type" => "rubygems", "uri" => options[:source]&.to_s }
    end
  end
end
