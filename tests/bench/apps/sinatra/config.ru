require "sinatra/base"

class Hello < Sinatra::Base
  get("/") { "Hello\n" }
end

run Hello
