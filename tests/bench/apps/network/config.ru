# frozen_string_literal: true

require_relative "client"

run lambda { |env|
  port, action = env["PATH_INFO"].split("/", 3).values_at(1, 2)
  [200, {}, [Client.public_send(action, Integer(port)).to_s]]
}
