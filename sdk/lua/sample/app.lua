return function() return 200, {}, "" end
