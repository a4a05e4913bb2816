require "bundler/setup"
require "sinatra/base"

# A guestbook that each visitor has to themselves: the entries live in the session.
class Guestbook < Sinatra::Base
  set :root, __dir__
  set :erb, escape_html: false
  set :show_exceptions, false
  enable :sessions
  # The first push makes one: see app.json.
  set :session_secret, ENV.fetch("SESSION_SECRET")

  helpers do
    def h(text) = Rack::Utils.escape_html(text)
  end

  get "/" do
    @entries = session[:entries] || []
    erb :index
  end

  post "/entries" do
    text = params["text"].to_s.strip[0, 200]
    halt 422, "Write something first." if text.empty?
    session[:entries] = ((session[:entries] || []) << text).last(10)
    redirect "/"
  end
end
