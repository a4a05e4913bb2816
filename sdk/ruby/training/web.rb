# frozen_string_literal: true

# A web application in miniature: middleware, a router with captures and filters, cookies, forms, views, JSON and errors.

require "cgi"
require "delegate"
require "digest"
require "erb"
require "forwardable"
require "json"
require "securerandom"
require "time"
require "uri"

class Headers
  include Enumerable

  def initialize = @values = {}
  def []=(name, value)
    @values[name.to_s.downcase.tr("_", "-")] = value.to_s
  end

  def [](name) = @values[name.to_s.downcase]
  def fetch(name, default = nil) = @values.fetch(name, default)
  def each(&) = @values.each(&)
end

class HTTPError < StandardError
  def initialize(message = self.class.name) = super
  def status = 500
end

class Missing < HTTPError
  def status = 404
end

class Forbidden < HTTPError
  def status = 403
end

class Request
  attr_reader :env

  def initialize(env) = @env = env
  def verb = env.fetch("REQUEST_METHOD").downcase.to_sym
  def path = env["PATH_INFO"].then { |path| path.nil? || path.empty? ? "/" : path }
  def body = @body ||= env["rack.input"]&.read.to_s
  def form? = env["CONTENT_TYPE"].to_s.start_with?("application/x-www-form-urlencoded")

  def params
    @params ||= parse(env["QUERY_STRING"]).merge(form? ? parse(body) : {})
  end

  def cookies
    @cookies ||= env["HTTP_COOKIE"].to_s.split(/;\s*/).each_with_object({}) do |pair, found|
      name, value = pair.split("=", 2)
      found[name] ||= CGI.unescape(value.to_s)
    end
  end

  def accepts
    types = env.fetch("HTTP_ACCEPT", "*/*").split(",").map do |entry|
      type, quality = entry.strip.split(";q=")
      [type, (quality || "1").to_f]
    end
    types.sort_by { |type, quality| [-quality, type] }.map(&:first)
  end

  private

  def parse(text)
    return {} if text.nil? || text.empty?

    text.split("&").each_with_object({}) do |pair, params|
      name, value = pair.split("=", 2).map { |part| URI.decode_www_form_component(part) }
      case name
      when /\A(\w+)\[\]\z/ then (params[$1] ||= []) << value
      when /\A(\w+)\[(\w+)\]\z/ then (params[$1] ||= {})[$2] = value
      else params[name] = value
      end
    end
  end
end

class Framework
  Route = Struct.new(:verb, :pattern, :names, :handler) do
    def match(verb, path)
      return unless self.verb == verb && (found = pattern.match(path))

      names.zip(found.captures.map { |text| URI.decode_www_form_component(text) }).to_h
    end
  end

  class << self
    def routes = @routes ||= []
    def filters = @filters ||= []
    def helpers(&) = class_eval(&)
    def before(&block) = filters << block

    %i[get post put delete].each do |verb|
      define_method(verb) { |path, &block| route(verb, path, block) }
    end

    def route(verb, path, block)
      names = path.scan(/:(\w+)/).flatten
      source = Regexp.escape(path).gsub(/:\w+/, "([^/?#]+)")
      handler = :"handle #{verb} #{path}"
      define_method(handler, &block)
      routes << Route.new(verb, /\A#{source}\z/, names, handler)
    end

    def call(env) = new.call(env)
  end

  attr_reader :request, :params, :headers

  def call(env)
    @request = Request.new(env)
    @params = request.params.dup
    @headers = Headers.new
    @status = 200
    body = catch(:halt) { respond }
    finish(body)
  rescue HTTPError => error
    @status = error.status
    headers["Content-Type"] = "text/plain"
    finish("#{error.class.name}: #{error.message}\n")
  end

  def halt(status, body = "")
    @status = status
    throw :halt, body
  end

  private

  def respond
    self.class.filters.each { |filter| instance_exec(&filter) }
    self.class.routes.each do |route|
      captured = route.match(request.verb, request.path) or next
      params.update(captured)
      return public_send(route.handler)
    end
    raise Missing, request.path
  end

  def finish(body)
    body = [body] unless body.is_a?(Array)
    headers["Content-Type"] = "text/html;charset=utf-8" unless headers["content-type"]
    headers["Content-Length"] = body.sum(&:bytesize)
    [@status, headers.to_h, body]
  end
end

Post = Struct.new(:id, :title, :text, :tags, :score, :time, keyword_init: true) do
  include Comparable

  def <=>(other) = [-score, id] <=> [-other.score, other.id]
  def slug = title.downcase.gsub(/[^a-z0-9]+/, "-").delete_suffix("-")
  def summary(length = 60) = text.size > length ? "#{text[0, length]}…" : text
  def as_json = { id:, title:, tags:, score:, slug:, time: time.iso8601 }
end

class Repository
  extend Forwardable
  include Enumerable

  def_delegators :@posts, :size, :key?

  def initialize(count)
    random = Random.new(7)
    words = %w[ruby web dyno grid image page speed table request green blue über straße]
    @posts = (1..count).to_h do |id|
      text = Array.new(30) { words.sample(random:) }.join(" ").capitalize
      tags = words.first(id % 5)
      [id, Post.new(id:, title: "Post no. #{id} & more", text: "#{text}.\n\n<b>#{text}</b>", tags:, score: random.rand(100), time: Time.at(1_700_000_000 + id))]
    end
  end

  def each(&) = @posts.each_value(&)
  def find(id) = @posts.fetch(Integer(id)) { raise Missing, "post #{id}" }
  def tagged(tag) = select { |post| post.tags.include?(tag) }
end

POSTS = Repository.new(48)

LAYOUT = ERB.new(<<~HTML, trim_mode: "-")
  <!doctype html>
  <html><head><title><%= h title %></title></head>
  <body<% if user %> class="known"<% end %>>
  <%= content -%>
  <footer><%= Time.now.year %> · <%= number(POSTS.size * 1234) %></footer>
  </body></html>
HTML

LIST = ERB.new(<<~HTML, trim_mode: "-")
  <table>
  <% posts.each_with_index do |post, index| -%>
    <tr class="<%= index.even? ? "even" : "odd" %>"><td><a href="<%= path(:posts, post.id, page: 1) %>"><%= h post.title %></a></td>
    <td><%= post.score %></td><td><%= post.tags.map { |tag| h(tag.capitalize) }.join(", ") %></td><td><%= h post.summary %></td></tr>
  <% end -%>
  </table>
HTML

SHOW = ERB.new(<<~HTML, trim_mode: "-")
  <h1><%= h post.title %></h1>
  <% post.text.split(/\\n{2,}/).each do |paragraph| -%>
    <p><%= h paragraph %></p>
  <% end -%>
  <time datetime="<%= post.time.iso8601 %>"><%= post.time.strftime("%d %b %Y") %></time>
HTML

class Site < Framework
  helpers do
    def h(text) = ERB::Util.html_escape(text)
    def number(value) = value.to_s.reverse.scan(/\d{1,3}/).join(",").reverse
    def user = request.cookies["user"]

    def path(*parts, **query)
      base = "/#{parts.map { |part| CGI.escape(part.to_s) }.join("/")}"
      query.empty? ? base : "#{base}?#{URI.encode_www_form(query)}"
    end

    def view(template, title: "Posts", **locals)
      content = template.result(scope(locals))
      LAYOUT.result(scope({ title:, content: }))
    end

    def scope(locals)
      binding.tap { |scope| locals.each { |name, value| scope.local_variable_set(name, value) } }
    end

    def json(value)
      headers["Content-Type"] = "application/json"
      JSON.generate(value)
    end
  end

  before { @started = Process.clock_gettime(Process::CLOCK_MONOTONIC) }
  before { headers["X-Request-Id"] = request.env["HTTP_X_REQUEST_ID"] || SecureRandom.hex(8) }

  get("/") { view(LIST, posts: POSTS.sort.first(12)) }
  get("/posts/:id") { view(SHOW, title: "Post", post: POSTS.find(params["id"])) }
  get("/tags/:tag") { view(LIST, posts: POSTS.tagged(params["tag"]).sort) }
  get("/api/posts") { json(POSTS.select { |post| post.score >= params.fetch("least", 20).to_i }.map(&:as_json)) }
  get("/admin") { user == "root" ? "welcome" : halt(401, "who are you?") }
  get("/secret") { raise Forbidden }
  post("/posts") do
    case JSON.parse(request.body, symbolize_names: true)
    in { title: String => title, tags: [*, String, *] => tags }
      json(ok: true, slug: title.downcase.tr(" ", "-"), tags: tags.uniq.sort)
    else
      halt 422, json(ok: false)
    end
  end
  post("/forms") { view(LIST, posts: [], title: params.dig("post", "title") || params.keys.join(",")) }
end

class Middleware
  def initialize(app, **options)
    @app = app
    @options = options
  end
end

class Logger < Middleware
  def call(env)
    status, headers, body = response = @app.call(env)
    @options[:lines] << format("%-6s %s %d %s\n", env["REQUEST_METHOD"], env["PATH_INFO"], status, headers["content-length"])
    @options[:lines].shift if @options[:lines].size > 100
    response
  ensure
    env.delete("site.temporary")
  end
end

class EntityTag < Middleware
  def call(env)
    status, headers, body = @app.call(env)
    return [status, headers, body] unless status == 200

    tag = %("#{Digest::SHA256.hexdigest(body.join)[0, 20]}")
    headers = headers.merge("etag" => tag)
    env["HTTP_IF_NONE_MATCH"] == tag ? [304, headers, []] : [status, headers, body]
  end
end

class Rescue < Middleware
  def call(env)
    @app.call(env)
  rescue ArgumentError, TypeError, JSON::ParserError => error
    [400, { "content-type" => "text/plain" }, [error.message, *error.backtrace.first(2)]]
  end
end

APP = [Rescue, EntityTag].inject(Logger.new(Site, lines: [])) { |app, layer| layer.new(app, strict: true) }

REQUESTS = [
  ["GET", "/", "", nil],
  ["GET", "/", "page=2&order=score", nil],
  ["GET", "/posts/7", "a=1&list[]=2&list[]=3&hash[key]=%C3%BC+x", nil],
  ["GET", "/tags/web", "", nil],
  ["GET", "/api/posts", "least=40", nil],
  ["GET", "/admin", "", nil],
  ["GET", "/secret", "", nil],
  ["GET", "/nowhere", "", nil],
  ["GET", "/posts/many", "", nil],
  ["POST", "/posts", "", '{"title":"A New Post","tags":["b","a"],"n":[1,2.5,null,true]}'],
  ["POST", "/posts", "", '{"title":'],
  ["POST", "/forms", "", "post[title]=Hello+world&post[text]=%3Cb%3E&commit=Save"]
].freeze

def request(verb, path, query, body)
  env = {
    "REQUEST_METHOD" => verb, "PATH_INFO" => path.dup, "QUERY_STRING" => query, "SERVER_NAME" => "localhost",
    "HTTP_HOST" => "localhost:8080", "HTTP_COOKIE" => "user=guest; theme=dark%20blue; n=1",
    "HTTP_ACCEPT" => "text/html,application/json;q=0.9,*/*;q=0.1", "CONTENT_TYPE" => "application/x-www-form-urlencoded",
    "rack.input" => StringIO.new(body.to_s)
  }
  status, headers, body = APP.call(env)
  out = +"HTTP/1.1 #{status}\r\n"
  headers.each { |name, value| out << name << ": " << value << "\r\n" }
  body.each { |part| out << part }
  Request.new(env).accepts
  out
end

150.times { REQUESTS.each { |words| request(*words) } }
