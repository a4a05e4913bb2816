require "bundler/setup"
require "rack"
require_relative "features"

use Rack::Lint

FEATURES.each do |path, feature|
  map path do
    use Rack::Lint
    run feature
  end
end

run ->(env) { text(FEATURES.keys.join("\n")) }
