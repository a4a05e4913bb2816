module Dyno; end
