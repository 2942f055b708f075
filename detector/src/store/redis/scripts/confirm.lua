return done()
