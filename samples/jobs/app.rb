require_relative "jobs"
require "sidekiq/api"
require "sinatra/base"

# Takes a number, and shows the results of the jobs that the workers have done.
class App < Sinatra::Base
  set :root, __dir__
  set :host_authorization, permitted_hosts: []

  get "/" do
    @results = PrimesJob.results
    @waiting = Sidekiq::Queue.new.size
    erb :index
  end

  get "/results" do
    content_type :json
    JSON.generate(PrimesJob.results)
  end

  post "/jobs" do
    limit = Integer(params["limit"], exception: false)
    halt 422, "Give a number from 1 to 1,000,000." unless limit&.between?(1, 1_000_000)
    PrimesJob.perform_async(limit)
    redirect "/"
  end
end
