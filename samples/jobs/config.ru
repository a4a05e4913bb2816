require_relative "app"
require "rack/session"
require "sidekiq/web"

map "/sidekiq" do
  use Rack::Auth::Basic, "Sidekiq" do |user, password|
    expected = ENV.fetch("SIDEKIQ_PASSWORD")
    user == "admin" && Rack::Utils.secure_compare(password, expected)
  end
  use Rack::Session::Cookie, secret: ENV.fetch("SESSION_SECRET"), same_site: true
  run Sidekiq::Web
end

run App
