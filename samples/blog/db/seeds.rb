Post.create!(title: "Hello", body: "The first post of this blog.") if Post.none?
