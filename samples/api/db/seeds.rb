Book.create!(title: "The Left Hand of Darkness", author: "Ursula K. Le Guin", year: 1969) if Book.none?
