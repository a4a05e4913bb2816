Post.create!(title: "Hello", body: "The first post of this journal.") if Post.none?
