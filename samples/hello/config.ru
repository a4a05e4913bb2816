# The smallest app: Rack, and not one gem.
run lambda { |env|
  [200, { "content-type" => "text/plain" }, ["Hello from Ruby #{RUBY_VERSION} in #{ENV.fetch("DYNO", "a dyno")}\n"]]
}
