# frozen_string_literal: true

# Stands in for a web server: a dyno serves requests itself.
module Agoo
end
