# frozen_string_literal: true

require "redis_client"
require_relative "postgres"

# Each process, and each dyno, keeps its connections.
connections = {}
redis = -> { connections[:redis] ||= RedisClient.new(url: "redis://127.0.0.1:#{ENV.fetch('REDIS_PORT')}") }
postgres = -> { connections[:postgres] ||= Postgres.new(Integer(ENV.fetch("POSTGRES_PORT"))) }

run lambda { |env|
  body =
    case env["PATH_INFO"]
    when "/get" then redis.call.call("GET", "key").to_s
    when "/select" then postgres.call.query("select name from names where id = 7").dig(0, 0)
    else "ready"
    end
  [200, { "content-type" => "text/plain" }, [body]]
}
